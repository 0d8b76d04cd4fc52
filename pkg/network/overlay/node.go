package overlay

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Node is what the overlay needs to know of a node.
type Node struct {
	Name      string
	Addresses []netip.Addr   // at most one of each family
	PodCIDRs  []netip.Prefix // at most one of each family
}

// FromNode takes what the overlay needs from a Node object: internal addresses, the first of each family, and pod CIDRs.
// An address that cannot be parsed is left out.
func FromNode(object *corev1.Node) (Node, error) {
	n := Node{Name: object.Name}
	for _, a := range object.Status.Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if a.Type != corev1.NodeInternalIP || err != nil {
			continue
		}
		ip = ip.Unmap().WithZone("")
		if !n.address(ip.Is6()).IsValid() {
			n.Addresses = append(n.Addresses, ip)
		}
	}
	for _, text := range object.Spec.PodCIDRs {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return Node{}, fmt.Errorf("parse pod CIDR of node %s: %w", object.Name, err)
		}
		n.PodCIDRs = append(n.PodCIDRs, p.Masked())
	}
	return n, nil
}

// address is the node's address of a family; not valid if it has none.
func (n Node) address(v6 bool) netip.Addr {
	for _, a := range n.Addresses {
		if a.Is6() == v6 {
			return a
		}
	}
	return netip.Addr{}
}

// podCIDR is the node's pod CIDR of a family; not valid if it has none.
func (n Node) podCIDR(v6 bool) netip.Prefix {
	for _, p := range n.PodCIDRs {
		if p.Addr().Is6() == v6 {
			return p
		}
	}
	return netip.Prefix{}
}

func (n Node) equal(o Node) bool {
	return n.Name == o.Name && slices.Equal(n.Addresses, o.Addresses) && slices.Equal(n.PodCIDRs, o.PodCIDRs)
}
