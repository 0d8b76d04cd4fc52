package cni

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/cni/wire"
	"kedge/pkg/network/nft"
)

// check compares what ADD made with what is there.
func (n *Network) check(c call) error {
	a := n.lookup(c.key())
	if a == nil {
		return &wire.Error{Code: wire.CodeUnknown, Msg: "container " + c.ContainerID + " has no " + c.IfName}
	}
	if err := checkPrevious(a, c.conf.PrevResult); err != nil {
		return err
	}
	if err := n.checkHost(a); err != nil {
		return err
	}
	if err := checkPod(a); err != nil {
		return err
	}
	return n.fw.check(a)
}

func checkPrevious(a *attachment, previous *wire.Result) error {
	if previous == nil {
		return nil
	}
	for _, ip := range previous.IPs {
		if !slices.Contains(a.Addresses, ip.Address.Addr()) {
			return mismatch(fmt.Sprintf("address %s of prevResult, pod has %v", ip.Address, a.Addresses), nil)
		}
	}
	return nil
}

func (n *Network) checkHost(a *attachment) error {
	link, err := n.links.LinkByName(a.HostLink)
	if err != nil {
		return mismatch("link "+a.HostLink+" on the host", err)
	}
	for _, addr := range a.Addresses {
		routes, err := n.links.RouteListFiltered(
			family(addr), &netlink.Route{Dst: hostNet(addr), LinkIndex: link.Attrs().Index}, netlink.RT_FILTER_DST|netlink.RT_FILTER_OIF,
		)
		if err != nil || len(routes) == 0 {
			return mismatch("route to "+addr.String()+" on the host", err)
		}
	}
	return nil
}

func checkPod(a *attachment) error {
	target, err := openNetns(a.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	pod, err := netlink.NewHandleAt(target, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in %s: %w", a.Netns, err)
	}
	defer pod.Close()
	link, err := pod.LinkByName(a.IfName)
	if err != nil {
		return mismatch("link "+a.IfName+" in "+a.Netns, err)
	}
	found, err := pod.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses in %s: %w", a.Netns, err)
	}
	for _, addr := range a.Addresses {
		if !slices.ContainsFunc(found, func(f netlink.Addr) bool { return f.IP.Equal(addr.AsSlice()) }) {
			return mismatch("address "+addr.String()+" on "+a.IfName+" in "+a.Netns, nil)
		}
	}
	return nil
}

// check looks for the attachment's elements in the kernel.
func (f *firewall) check(a *attachment) error {
	elements, err := a.elements()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range elements {
		if f.owners[e.id()].owner != a.key() {
			continue // a newer pod has the port
		}
		found, err := nft.Elements(f.conn, e.set)
		if err != nil {
			return mismatch("host port", err)
		}
		if !slices.ContainsFunc(found, func(k nftables.SetElement) bool { return slices.Equal(k.Key, e.Key) }) {
			return mismatch("host port in nftables set "+e.set.Name, nil)
		}
	}
	return nil
}

func family(addr netip.Addr) int {
	if addr.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}
