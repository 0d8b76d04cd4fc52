package overlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	vni  = 1
	port = 8472 // Linux's own, from before IANA gave 4789; what others use for such overlays as well
	// protocol marks the package's routes (rtnetlink(7)); it is in nobody's list.
	protocol = netlink.RouteProtocol('k')
	// defaultMTU is that of a node whose address is on no link to other nodes, as in pkg/network/cni.
	defaultMTU = 1500
	// maxTries bounds how often a list that was disturbed is asked for again at once.
	maxTries = 10
)

// kernel reads and changes the overlay's part of a network namespace: that of the thread that opened it.
type kernel struct {
	links   *netlink.Handle
	control int // a socket for ioctl
	ipv6    bool
	index   map[string]int // of the overlay's links that exist
}

func openKernel() (*kernel, error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		links.Close()
		return nil, fmt.Errorf("open socket for ioctl: %w", err)
	}
	_, err = os.Stat("/proc/sys/net/ipv6")
	disabled, _ := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	return &kernel{
		links: links, control: control, index: map[string]int{},
		ipv6: err == nil && (len(disabled) == 0 || disabled[0] != '1'),
	}, nil
}

func (k *kernel) close() error {
	k.links.Close()
	if err := unix.Close(k.control); err != nil {
		return fmt.Errorf("close socket for ioctl: %w", err)
	}
	return nil
}

// undisturbed repeats what lists things of the kernel when these change in the middle of it.
func undisturbed(list func() error) error {
	err := list()
	for tries := 1; errors.Is(err, netlink.ErrDumpInterrupted) && tries < maxTries; tries++ {
		err = list()
	}
	return err
}

// underlay finds out about this node's addresses. One that is on no link is left out.
func (k *kernel) underlay(own []netip.Addr) ([]Underlay, error) {
	addrs, err := k.links.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var found []Underlay
	for _, o := range own {
		for _, a := range addrs {
			ip, ok := netip.AddrFromSlice(a.IP)
			if !ok || ip.Unmap() != o {
				continue
			}
			link, err := k.links.LinkByIndex(a.LinkIndex)
			if err != nil {
				return nil, fmt.Errorf("find link of %s: %w", o, err)
			}
			ones, _ := a.Mask.Size()
			u := Underlay{Address: o, Subnet: netip.PrefixFrom(o, ones).Masked(), Link: link.Attrs().Name, MTU: link.Attrs().MTU, Virtual: link.Type() == "veth"}
			if link.Attrs().Flags&net.FlagLoopback != 0 {
				u.MTU = defaultMTU
			}
			found = append(found, u)
			break
		}
	}
	return found, nil
}

// read finds out what there is. Links come first: they can be read only when nobody changes any.
func (k *kernel) read() (State, error) {
	s := newState(0)
	k.index = map[string]int{}
	for _, name := range []string{linkV4, linkV6} {
		link, err := k.links.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue
		}
		if err != nil {
			return s, fmt.Errorf("find link %s: %w", name, err)
		}
		k.index[name] = link.Attrs().Index
		s.Links[name] = k.describe(link)
		if err := errors.Join(k.readAddresses(s, link), k.readNeighbours(s, link)); err != nil {
			return s, err
		}
	}
	return s, k.readRoutes(s)
}

func (k *kernel) describe(link netlink.Link) Link {
	v, ok := link.(*netlink.Vxlan)
	if !ok || v.VxlanId != vni || v.Port != port || v.Learning || v.FlowBased || v.VtepDevIndex != 0 || v.Group != nil {
		return Link{Alien: true}
	}
	l := Link{MTU: v.MTU, Up: v.Flags&net.FlagUp != 0, Offload: k.offload(v.Name)}
	copy(l.MAC[:], v.HardwareAddr)
	if local, ok := netip.AddrFromSlice(v.SrcAddr); ok {
		l.Local = local.Unmap()
	}
	return l
}

func (k *kernel) readAddresses(s State, link netlink.Link) error {
	addrs, err := k.links.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			s.Addresses[LinkAddr{link.Attrs().Name, ip.Unmap()}] = true
		}
	}
	return nil
}

// readNeighbours reads the permanent entries; what the kernel adds by itself (multicast) it also removes.
func (k *kernel) readNeighbours(s State, link netlink.Link) error {
	name, index := link.Attrs().Name, link.Attrs().Index
	stations, err := k.links.NeighList(index, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("list FDB of %s: %w", name, err)
	}
	for _, n := range stations {
		s.Stations[LinkMAC{name, hardware(n)}] = address(n.IP)
	}
	neighbours, err := k.links.NeighList(index, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list neighbours of %s: %w", name, err)
	}
	for _, n := range neighbours {
		if n.Family != unix.AF_BRIDGE && n.State&netlink.NUD_PERMANENT != 0 {
			s.Neighbours[LinkAddr{name, address(n.IP)}] = hardware(n)
		}
	}
	return nil
}

func (k *kernel) readRoutes(s State) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if family == netlink.FAMILY_V6 && !k.ipv6 {
			continue
		}
		routes, err := k.links.RouteListFiltered(family, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if to := prefix(r.Dst); to.IsValid() {
				s.Routes[to] = Route{Link: k.linkName(r), Via: address(r.Gw), Source: address(r.Src)}
			}
		}
	}
	return nil
}

// linkName is empty for routes without a link.
func (k *kernel) linkName(r netlink.Route) string {
	if r.Type != unix.RTN_UNICAST {
		return ""
	}
	for name, index := range k.index {
		if index == r.LinkIndex {
			return name
		}
	}
	link, err := k.links.LinkByIndex(r.LinkIndex)
	if err != nil {
		return "?" // gone meanwhile, and the route with it
	}
	return link.Attrs().Name
}

func hardware(n netlink.Neigh) (m MAC) {
	copy(m[:], n.HardwareAddr)
	return m
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// prefix is not valid for the default route.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(address(n.IP), ones)
}
