package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Primary is a word in place of networks: the node's own addresses as Kubernetes knows them.
const Primary = "primary"

// coalesce is how long changes of addresses are collected before they are applied, and the pause before a lost subscription is renewed.
const coalesce = 100 * time.Millisecond

// nodePorts chooses, of all addresses of the host, those that answer node ports.
type nodePorts struct {
	networks []netip.Prefix // none: every address
	services []netip.Prefix // whose addresses never do
}

// parseNodePorts reads the value of --nodeport-addresses.
func parseNodePorts(values []string, own []netip.Addr, services []netip.Prefix) (nodePorts, error) {
	n := nodePorts{services: services}
	if slices.Equal(values, []string{Primary}) {
		for _, a := range own {
			n.networks = append(n.networks, netip.PrefixFrom(a, a.BitLen()))
		}
		return n, nil
	}
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			return nodePorts{}, fmt.Errorf("parse --nodeport-addresses: want networks such as 192.0.2.0/24, or %s alone: %w", Primary, err)
		}
		n.networks = append(n.networks, p.Masked())
	}
	return n, nil
}

// cidrs is the choice in the form that upstream's health check server takes; of a family without networks it would take all.
func (n nodePorts) cidrs() []string {
	var out []string
	for _, p := range n.networks {
		out = append(out, p.String())
	}
	return out
}

// match tells whether an address answers node ports. Loopback never does: packets from 127.0.0.1 cannot leave the host, unless the
// kernel is told to take such sources from everywhere (route_localnet), and ::1 cannot at all. Link-local ones would need a zone.
func (n nodePorts) match(a netip.Addr) bool {
	switch {
	case !a.IsValid(), a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified():
		return false
	case slices.ContainsFunc(n.services, func(p netip.Prefix) bool { return p.Contains(a) }):
		return false
	}
	ofFamily := false
	for _, p := range n.networks {
		if p.Contains(a) {
			return true
		}
		ofFamily = ofFamily || p.Addr().Is4() == a.Is4()
	}
	return !ofFamily
}

// list returns the host's addresses that answer node ports, sorted.
func (n nodePorts) list(links *netlink.Handle) ([]netip.Addr, error) {
	found, err := links.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	var out []netip.Addr
	for _, f := range found {
		a, _ := netip.AddrFromSlice(f.IP)
		if a = a.Unmap(); n.match(a) && f.Flags&unix.IFA_F_DADFAILED == 0 {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// follow returns a channel that tells when an address that answers node ports may have come or gone; links of pods come and go without
// that. The channel is closed when ctx ends or the subscription is lost.
func (n nodePorts) follow(ctx context.Context) (<-chan struct{}, error) {
	updates := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribeWithOptions(updates, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: func(error) {}}); err != nil {
		return nil, fmt.Errorf("subscribe to the host's addresses: %w", err)
	}
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		for u := range updates {
			if a, _ := netip.AddrFromSlice(u.LinkAddress.IP); n.match(a.Unmap()) {
				wake(changed)
			}
		}
	}()
	return changed, nil
}

// wake leaves a note in a channel of capacity one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
