package cni

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const defaultMTU = 1500

// setUp brings the node's part of the network into the kernel and then lets the runtime know. n.program is held.
func (n *Network) setUp(cidrs []netip.Prefix) error {
	if err := n.write(cidrs); err != nil {
		return err
	}
	mtu := n.findMTU()
	serving, err := n.open(cidrs, mtu)
	if err != nil {
		return err
	}
	n.log.Info("pod network is set up", "podCIDRs", cidrs, "mtu", mtu)
	if serving {
		return n.publishConf()
	}
	return nil
}

// write makes the kernel have the parameters, addresses and rules that the pod network needs. n.program is held.
func (n *Network) write(cidrs []netip.Prefix) error {
	own := n.ownAddresses()
	hasV6 := slices.ContainsFunc(cidrs, func(c netip.Prefix) bool { return c.Addr().Is6() })
	settings, err := forwardingSettings(hasV6)
	if err != nil {
		return err
	}
	former, _ := n.store.recall() // nothing, at the first start
	next := former.next(cidrs, own, settings, bootID())
	if err := n.store.remember(next); err != nil {
		return fmt.Errorf("remember the node's pod CIDRs: %w", err)
	}
	if err := applySettings(settings); err != nil {
		return fmt.Errorf("let the host forward packets of pods: %w", err)
	}
	if err := n.setAddresses(own, former.Addresses); err != nil {
		return err
	}
	if next.Addresses = own; len(former.Addresses) > 0 {
		if err := n.store.remember(next); err != nil {
			return fmt.Errorf("remember the node's pod CIDRs: %w", err)
		}
	}
	input := ruleInput{podCIDRs: cidrs, clusterCIDRs: n.cfg.ClusterCIDRs, services: n.services(), own: own}
	return n.fw.apply(input.plan())
}

// open lets ADD succeed and tells whether the socket listens. The addresses of existing pods are in use, oldest first.
func (n *Network) open(cidrs []netip.Prefix, mtu int) (serving bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	existing := slices.SortedFunc(maps.Values(n.attached), bySequence)
	var pools []*pool
	for _, c := range cidrs {
		p, err := newPool(c)
		if err != nil {
			return false, err
		}
		for _, a := range existing {
			for _, addr := range a.Addresses {
				p.adopt(addr)
			}
		}
		pools = append(pools, p)
	}
	n.podCIDRs, n.pools, n.mtu = cidrs, pools, mtu
	return n.serving, nil
}

func (n *Network) services() []ServiceVIP {
	return slices.DeleteFunc(slices.Clone(n.vips), func(s ServiceVIP) bool { return s.Address.Addr().Is6() && !n.ipv6 })
}

// setAddresses gives lo the wanted addresses and takes those that kedge gave it before and are not wanted now.
func (n *Network) setAddresses(want, former []netip.Addr) error {
	lo, err := n.links.LinkByName(loopback)
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := n.links.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	for _, a := range former {
		if !slices.Contains(want, a) {
			if err := delAddress(n.links, lo, a); err != nil {
				return err
			}
		}
	}
	for _, a := range want {
		if err := n.links.AddrReplace(lo, ownAddress(a)); err != nil {
			return fmt.Errorf("add service address %s to lo: %w", a, err)
		}
	}
	return nil
}

// ownAddress is an address for lo that the kernel does not choose as the source of other connections: of host scope
// (IPv4), deprecated (IPv6, RFC 6724 rule 3).
func ownAddress(a netip.Addr) *netlink.Addr {
	addr := &netlink.Addr{IPNet: hostNet(a)}
	if a.Is4() {
		addr.Scope = int(netlink.SCOPE_HOST)
	} else {
		addr.Flags, addr.ValidLft, addr.PreferedLft = unix.IFA_F_NODAD, math.MaxUint32, 0
	}
	return addr
}

func delAddress(links *netlink.Handle, lo netlink.Link, a netip.Addr) error {
	err := links.AddrDel(lo, &netlink.Addr{IPNet: hostNet(a)})
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove service address %s from lo: %w", a, err)
	}
	return nil
}

// findMTU is that of the link with the node's first address, less what the overlay adds.
func (n *Network) findMTU() int {
	mtu, err := n.nodeMTU()
	if err != nil {
		n.log.Warn("cannot tell the MTU of the node's link: taking 1500", "address", n.cfg.NodeIPs[0], "error", err)
		mtu = defaultMTU
	}
	return mtu - n.cfg.OverlayOverhead
}

func (n *Network) nodeMTU() (int, error) {
	addrs, err := n.links.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return 0, fmt.Errorf("list the host's addresses: %w", err)
	}
	for _, a := range addrs {
		if found, ok := netip.AddrFromSlice(a.IP); !ok || found.Unmap() != n.cfg.NodeIPs[0].Unmap() {
			continue
		}
		link, err := n.links.LinkByIndex(a.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("find link of %s: %w", a.IP, err)
		}
		if link.Attrs().Flags&net.FlagLoopback != 0 {
			return defaultMTU, nil // no link between nodes carries more for sure
		}
		return link.Attrs().MTU, nil
	}
	return 0, errors.New("no link has the address")
}

func (n *Network) podMTU() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mtu
}

func bySequence(a, b *attachment) int { return int(a.Sequence) - int(b.Sequence) }
