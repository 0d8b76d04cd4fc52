package space

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// gateway is what pods have as next hop; no link has the address.
func gateway(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr("fe80::1")
	}
	return netip.MustParseAddr("169.254.1.1")
}

// NewPod makes a namespace whose only link is routed to node, as the pod network of kedge does it: single addresses, a gateway
// that no link has, and neighbours that are never asked for. name is that of the link on the node.
func NewPod(node *Space, name string, addresses ...netip.Addr) (*Space, error) {
	pod, err := New()
	if err != nil {
		return nil, err
	}
	inside := End{Space: pod, Name: "eth0"}
	for _, a := range addresses {
		inside.Addresses = append(inside.Addresses, single(a))
	}
	if err := Join(End{Space: node, Name: name}, inside); err != nil {
		return nil, err
	}
	podMAC, err := pod.MAC("eth0")
	if err != nil {
		return nil, err
	}
	nodeMAC, err := node.MAC(name)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		gw := gateway(a.Is6())
		everything := netip.PrefixFrom(gw, 0).Masked()
		steps := []func() error{
			func() error { return pod.Neighbour("eth0", gw, nodeMAC) },
			func() error { return pod.Route(everything, "eth0", gw) },
			func() error { return node.Route(single(a), name, netip.Addr{}) },
			func() error { return node.Neighbour(name, a, podMAC) },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return nil, err
			}
		}
	}
	return pod, nil
}

// Own makes every address of a network the namespace's own, so that one listener answers on all of them.
func (s *Space) Own(network netip.Prefix) error {
	lo, err := s.Links.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(network), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST}
	if err := s.Links.RouteAdd(route); err != nil {
		return fmt.Errorf("own addresses %s: %w", network, err)
	}
	return nil
}
