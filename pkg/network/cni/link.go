package cni

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// linkPrefix begins the name of the host's side of every pod's veth pair.
	linkPrefix = "kdg"
	loopback   = "lo"
	// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE (linux/if_link.h): the kernel gives the link no address by itself.
	addrGenModeNone = 1
	carrierTimeout  = 2 * time.Second
)

// hostLinkName is the name of the host's side: it is found again from what the runtime says on DEL, without a record.
func hostLinkName(containerID, ifName string) string {
	sum := sha256.Sum256([]byte(attachmentKey(containerID, ifName)))
	return linkPrefix + hex.EncodeToString(sum[:])[:11]
}

// podMAC is a locally administered unicast address (IEEE 802) that is the same for the same pod.
func podMAC(containerID, ifName string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(attachmentKey(containerID, ifName)))
	return append(net.HardwareAddr{0x0a}, sum[16:21]...)
}

// gatewayMAC is the address of the host's side of every pair; it marks the link as kedge's.
func gatewayMAC() net.HardwareAddr { return net.HardwareAddr{0x0e, 'k', 'e', 'd', 'g', 'e'} }

// gateway is what pods have as their next hop; no link has the address.
func gateway(v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1})
	}
	return netip.AddrFrom4([4]byte{169, 254, 1, 1})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func hostNet(a netip.Addr) *net.IPNet { return ipNet(netip.PrefixFrom(a, a.BitLen())) }

// plumb makes the pod's pair with its addresses, routes and neighbours. The caller removes the host's side after an error.
// The pod's side is set up first, so that the host's side, which finds its peer up, passes packets at once.
func (n *Network) plumb(a *attachment, target netns.NsHandle) error {
	mac, err := net.ParseMAC(a.MAC)
	if err != nil {
		return fmt.Errorf("parse hardware address: %w", err)
	}
	pod, err := netlink.NewHandleAt(target, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in %s: %w", a.Netns, err)
	}
	defer pod.Close()
	host, err := n.addPair(a, target, mac)
	if err != nil {
		return err
	}
	inside, err := n.raise(pod, a.IfName)
	if err != nil {
		return fmt.Errorf("in %s: %w", a.Netns, err)
	}
	if err := n.links.LinkSetUp(host); err != nil {
		return fmt.Errorf("set link %s up: %w", a.HostLink, err)
	}
	if err := awaitCarrier(pod, inside); err != nil {
		return fmt.Errorf("in %s: %w", a.Netns, err)
	}
	for _, addr := range a.Addresses {
		if err := podAddress(pod, inside, addr); err != nil {
			return fmt.Errorf("configure %s on %s in %s: %w", addr, a.IfName, a.Netns, err)
		}
		if err := n.hostRoute(host, addr, mac); err != nil {
			return err
		}
	}
	return nil
}

// addPair makes the pair, its far end in the pod's namespace from the start. What pods must not do to the host is settled
// before a link is up.
func (n *Network) addPair(a *attachment, target netns.NsHandle, mac net.HardwareAddr) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = a.HostLink, gatewayMAC(), n.podMTU()
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: a.IfName, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(target),
	}
	if err := n.links.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("create veth pair %s and %s in %s: %w", a.HostLink, a.IfName, a.Netns, err)
	}
	return veth, n.guardLink(a, veth)
}

// guardLink keeps IPv6 autoconfiguration off the host's side, so that a pod cannot advertise itself as the host's router,
// and lets the host reach the pod's host ports from 127.0.0.1.
func (n *Network) guardLink(a *attachment, link netlink.Link) error {
	var err error
	if n.ipv6 {
		if err := n.links.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
			return fmt.Errorf("switch off IPv6 link-local address of %s: %w", a.HostLink, err)
		}
		err = ensureSysctl(linkSysctl6+a.HostLink+acceptRA, "0")
	}
	if len(a.Ports) > 0 {
		err = errors.Join(err, ensureSysctl(linkSysctl4+a.HostLink+routeLocalnet, "1"))
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		n.sysctlOnce.Do(func() {
			n.log.Warn("kernel parameters of pod links are read-only: host ports do not answer on 127.0.0.1", "error", err)
		})
		return nil
	}
	return err
}

// raise sets the pod's links up and returns its side of the pair.
func (n *Network) raise(pod *netlink.Handle, name string) (netlink.Link, error) {
	lo, err := pod.LinkByName(loopback)
	if err != nil {
		return nil, fmt.Errorf("find lo: %w", err)
	}
	link, err := pod.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	if n.ipv6 {
		if err := pod.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
			return nil, fmt.Errorf("switch off IPv6 link-local address of %s: %w", name, err)
		}
	}
	if err := errors.Join(pod.LinkSetUp(lo), pod.LinkSetUp(link)); err != nil {
		return nil, fmt.Errorf("set links up: %w", err)
	}
	return link, nil
}

// awaitCarrier waits until the kernel has noticed that the peer is up: until then it drops what the pod sends, and a lost SYN
// costs the pod's first connection a second. Kernels from 6.8 notice when they are asked (rtnl_getlink), older ones a moment later.
func awaitCarrier(pod *netlink.Handle, link netlink.Link) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		found, err := pod.LinkByIndex(link.Attrs().Index)
		if err != nil {
			return fmt.Errorf("look for the carrier of %s: %w", link.Attrs().Name, err)
		}
		if found.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Since(begin) > carrierTimeout {
			return fmt.Errorf("%s has no carrier after %v: its peer on the host was set down", link.Attrs().Name, carrierTimeout)
		}
	}
}

// hostRoute leads the host to the pod.
func (n *Network) hostRoute(link netlink.Link, addr netip.Addr, mac net.HardwareAddr) error {
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: hostNet(addr), Scope: netlink.SCOPE_LINK}
	if addr.Is6() {
		route.Scope = netlink.SCOPE_UNIVERSE
	}
	if err := n.links.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to pod %s: %w", addr, err)
	}
	if err := n.links.NeighSet(neighbour(link, addr, mac)); err != nil {
		return fmt.Errorf("add neighbour entry of pod %s: %w", addr, err)
	}
	return nil
}

func podAddress(pod *netlink.Handle, link netlink.Link, addr netip.Addr) error {
	address := &netlink.Addr{IPNet: hostNet(addr)}
	if addr.Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := pod.AddrAdd(link, address); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	gw := gateway(addr.Is6())
	if err := pod.NeighSet(neighbour(link, gw, gatewayMAC())); err != nil {
		return fmt.Errorf("add neighbour entry of gateway: %w", err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: everything(addr.Is6()), Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
	if err := pod.RouteAdd(route); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	return nil
}

func everything(v6 bool) *net.IPNet {
	if v6 {
		return ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	return ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
}

func neighbour(link netlink.Link, addr netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac}
}

// unplumb removes the host's side, and with it the pod's, their routes and neighbours. A link that is gone is no error;
// one that is not kedge's is left alone.
func unplumb(links *netlink.Handle, name string) error {
	link, err := links.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if !ours(link) {
		return nil
	}
	if err := links.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}
