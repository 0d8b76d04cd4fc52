package space

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The kernel's side of IN6_ADDR_GEN_MODE_NONE (linux/if_link.h), and how long a link may take to come up.
const (
	genModeNone = 1
	upTimeout   = 5 * time.Second
)

// End is one end of a link.
type End struct {
	Space     *Space
	Name      string
	Addresses []netip.Prefix
}

// Join links two namespaces with a pair of virtual Ethernet devices and waits until packets pass.
func Join(a, b End) error {
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: a.Name, TxQLen: -1}, PeerName: b.Name, PeerNamespace: netlink.NsFd(b.Space.ns),
	}
	if err := a.Space.Links.LinkAdd(veth); err != nil {
		return fmt.Errorf("link %s with %s: %w", a.Name, b.Name, err)
	}
	for _, end := range []End{a, b} {
		if err := end.raise(); err != nil {
			return fmt.Errorf("set up %s: %w", end.Name, err)
		}
	}
	for _, end := range []End{a, b} {
		if err := end.settle(); err != nil {
			return fmt.Errorf("set up %s: %w", end.Name, err)
		}
	}
	return errors.Join(a.meet(b), b.meet(a))
}

// meet tells an end where the other's addresses are: without link-local addresses neighbour discovery does not work.
func (e End) meet(other End) error {
	mac, err := other.Space.MAC(other.Name)
	for _, p := range other.Addresses {
		err = errors.Join(err, e.Space.Neighbour(e.Name, p.Addr(), mac))
	}
	return err
}

func (e End) raise() error {
	link, err := e.Space.Links.LinkByName(e.Name)
	if err != nil {
		return fmt.Errorf("find the link: %w", err)
	}
	if err := e.Space.Links.LinkSetIP6AddrGenMode(link, genModeNone); err != nil {
		return fmt.Errorf("switch off its link-local address: %w", err)
	}
	if err := e.Space.Links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	return nil
}

// settle waits for the carrier, without which the kernel drops packets, and adds the addresses.
func (e End) settle() error {
	err := within(upTimeout, func() (bool, error) {
		link, err := e.Space.Links.LinkByName(e.Name)
		if err != nil {
			return false, fmt.Errorf("look for the carrier: %w", err)
		}
		return link.Attrs().OperState == netlink.OperUp, nil
	})
	if err != nil {
		return err
	}
	return e.Space.AddAddresses(e.Name, e.Addresses...)
}

// AddAddresses gives a link addresses, which serve when it returns.
func (s *Space) AddAddresses(name string, addresses ...netip.Prefix) error {
	link, err := s.Links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	for _, p := range addresses {
		if err := s.Links.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add address %s to %s: %w", p, name, err)
		}
	}
	for _, p := range addresses { // the kernel adds the route of an IPv6 address a moment later
		local := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: ipNet(single(p.Addr()))}
		err := within(upTimeout, func() (bool, error) {
			found, err := s.Links.RouteListFiltered(netlink.FAMILY_ALL, local, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
			return len(found) > 0, err
		})
		if err != nil {
			return fmt.Errorf("wait for address %s: %w", p, err)
		}
	}
	return nil
}

// DelAddress takes an address from a link.
func (s *Space) DelAddress(name string, p netip.Prefix) error {
	link, err := s.Links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := s.Links.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("take address %s from %s: %w", p, name, err)
	}
	return nil
}

// Route leads to a network over a gateway on the link, or directly if there is none.
func (s *Space) Route(to netip.Prefix, name string, gateway netip.Addr) error {
	link, err := s.Links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to)}
	switch {
	case gateway.IsValid():
		route.Gw, route.Flags = gateway.AsSlice(), int(netlink.FLAG_ONLINK)
	case to.Addr().Is4():
		route.Scope = netlink.SCOPE_LINK
	}
	if err := s.Links.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to %s over %s: %w", to, name, err)
	}
	return nil
}

// Neighbour says for good which hardware address an address has on a link.
func (s *Space) Neighbour(name string, address netip.Addr, mac net.HardwareAddr) error {
	link, err := s.Links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	neighbour := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: mac}
	if err := s.Links.NeighSet(neighbour); err != nil {
		return fmt.Errorf("add neighbour %s on %s: %w", address, name, err)
	}
	return nil
}

// MAC is the hardware address of a link.
func (s *Space) MAC(name string) (net.HardwareAddr, error) {
	link, err := s.Links.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", name, err)
	}
	return link.Attrs().HardwareAddr, nil
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

var errTimeout = errors.New("it does not happen in time")

func within(limit time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Since(begin) > limit {
			return errTimeout
		}
	}
}
