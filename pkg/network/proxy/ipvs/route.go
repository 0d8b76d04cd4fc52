package ipvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/proxy/state"
)

const (
	loopback = "lo"
	// routeProtocol marks routes as kedge's (rtnetlink(7), rtm_protocol); no routing daemon is known to use it.
	routeProtocol netlink.RouteProtocol = 107
	// routeTable holds the addresses that are local only to packets which the rules have marked, or which have no other route.
	routeTable = 107
	// rulePriority is after the table local and before all others; lastPriority after them.
	rulePriority = 107
	lastPriority = 40000
)

// router keeps the routes that lead service addresses to the node itself: cluster IPs for everybody; external and load balancer
// addresses, which may be another machine's, only for packets to the ports of services. The kernel answers no ARP for the latter.
type router struct {
	handle *netlink.Handle
	lo     int
}

func openRouter() (*router, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	lo, err := h.LinkByName(loopback)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("find %s: %w", loopback, err)
	}
	return &router{h, lo.Attrs().Index}, nil
}

// route is one that is wanted or found.
type route struct {
	to    netip.Prefix
	table int
}

// sources are the node's addresses that connections of its own to service addresses come from, by family.
type sources map[bool]netip.Addr

// addresses are those of the node's links.
func (r *router) addresses() (map[netip.Addr]bool, error) {
	found, err := r.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	here := map[netip.Addr]bool{}
	for _, a := range found {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			here[addr.Unmap()] = true
		}
	}
	return here, nil
}

// sourcesOf leaves out addresses that the node does not have (yet).
func sourcesOf(node state.Node, here map[netip.Addr]bool) sources {
	from := sources{}
	for _, a := range node.Addresses {
		if here[a] {
			from[a.Is6()] = a
		}
	}
	return from
}

// wantedRoutes are all routes, with those of the routed addresses.
func wantedRoutes(node state.Node, routed map[netip.Addr]int) map[route]bool {
	want := map[route]bool{}
	for _, cidr := range node.ServiceCIDRs {
		want[route{cidr.Masked(), unix.RT_TABLE_LOCAL}] = true
	}
	for a := range routed {
		want[route{netip.PrefixFrom(a, a.BitLen()), routeTable}] = true
	}
	return want
}

// found are the proxy's routes with their sources: the local ones. The overlay's have the same protocol and are of other types.
func (r *router) found() (map[route]netip.Addr, error) {
	list, err := r.handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	all := map[route]netip.Addr{}
	for _, l := range list {
		if l.Dst == nil || l.Type != unix.RTN_LOCAL {
			continue
		}
		addr, _ := netip.AddrFromSlice(l.Dst.IP)
		bits, _ := l.Dst.Mask.Size()
		src, _ := netip.AddrFromSlice(l.Src)
		all[route{netip.PrefixFrom(addr.Unmap(), bits), l.Table}] = src.Unmap()
	}
	return all, nil
}

// ensure makes the routes equal to those wanted, and the rules that lead to their table, and returns how many were not.
func (r *router) ensure(want map[route]bool, from sources) (int, []error) {
	found, err := r.found()
	if err != nil {
		return 0, []error{err}
	}
	n, errs := r.ensureRules(needTable(want))
	for w := range want {
		if src, ok := found[w]; !ok || src != from[w.to.Addr().Is6()] {
			n, errs = n+1, append(errs, r.add(w, from))
		}
	}
	for f := range found {
		if !want[f] {
			n, errs = n+1, append(errs, r.delete(f))
		}
	}
	return n, errs
}

// needTable tells for which families there is a route in the table of kedge.
func needTable(want map[route]bool) map[bool]bool {
	need := map[bool]bool{}
	for w := range want {
		if w.table == routeTable {
			need[w.to.Addr().Is6()] = true
		}
	}
	return need
}

func (r *router) add(to route, from sources) error {
	l := r.kernel(to)
	if src, ok := from[to.to.Addr().Is6()]; ok {
		l.Src = src.AsSlice()
	}
	if err := r.handle.RouteReplace(l); err != nil {
		return fmt.Errorf("add local route to %s: %w", to.to, err)
	}
	return nil
}

func (r *router) delete(to route) error {
	if err := r.handle.RouteDel(r.kernel(to)); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("delete local route to %s: %w", to.to, err)
	}
	return nil
}

func (r *router) kernel(to route) *netlink.Route {
	l := &netlink.Route{
		LinkIndex: r.lo, Type: unix.RTN_LOCAL, Table: to.table, Protocol: routeProtocol,
		Dst: &net.IPNet{IP: to.to.Addr().AsSlice(), Mask: net.CIDRMask(to.to.Bits(), to.to.Addr().BitLen())},
	}
	if to.to.Addr().Is4() {
		l.Scope = netlink.SCOPE_HOST
	}
	return l
}

func (r *router) close() { r.handle.Close() }
