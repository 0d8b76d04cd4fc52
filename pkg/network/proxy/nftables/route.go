package nftables

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What is this backend's among routes and routing rules. Package ipvs has 107 everywhere.
const (
	routeProtocol = 108 // no routing daemon is known to use it (rtnetlink(7), rtm_protocol)
	routeMetric   = 108
	lastTable     = 108   // asked when no other knows the way
	lastPriority  = 40108 // after the tables main and default
)

// router leads the node's own connections to service addresses to where they are translated: what has no route does not get there, and a
// host may have none but to its neighbours. Cluster IPs are local to the node. External addresses may be
// another machine's, so that they are local only to connections of the node itself that would have no route.
type router struct {
	*netlink.Handle
	lo int
}

// route is one of this backend's.
type route struct {
	netip.Prefix
	table int
}

func openRouter() (router, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return router{}, fmt.Errorf("open netlink socket for routes: %w", err)
	}
	lo, err := h.LinkByName("lo")
	if err != nil {
		h.Close()
		return router{}, fmt.Errorf("find link lo: %w", err)
	}
	return router{h, lo.Attrs().Index}, nil
}

func (r router) close() { r.Close() }

// addresses are those of the node's links.
func (r router) addresses() (map[netip.Addr]bool, error) {
	list, err := r.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses of the node: %w", err)
	}
	here := make(map[netip.Addr]bool, len(list))
	for _, l := range list {
		a, _ := netip.AddrFromSlice(l.IP)
		here[a.Unmap()] = true
	}
	return here, nil
}

// wantedRoutes are all routes with their sources: the node's address, once it is there.
func (b *Backend) wantedRoutes() map[route]netip.Addr {
	var source [2]netip.Addr
	for _, a := range b.node.Addresses {
		if b.here[a] {
			source[familyIndex(a)] = a
		}
	}
	want := map[route]netip.Addr{}
	for _, p := range b.node.ServiceCIDRs {
		want[route{p.Masked(), unix.RT_TABLE_LOCAL}] = source[familyIndex(p.Addr())]
	}
	for a := range b.externals {
		want[route{netip.PrefixFrom(a, a.BitLen()), lastTable}] = source[familyIndex(a)]
	}
	return want
}

func familyIndex(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

// sync makes the routes equal to those wanted and returns how many differed. A route with another source is replaced, so that there
// is one at any time.
func (r router) sync(want map[route]netip.Addr) (int, error) {
	have, err := r.list()
	if err != nil {
		return 0, err
	}
	n, err := r.syncRules(want)
	for w, source := range want {
		if had, ok := have[w]; ok && had == source {
			continue
		}
		n++
		if failed := r.RouteReplace(r.kernel(w, source)); failed != nil {
			err = errors.Join(err, fmt.Errorf("add local route %s on lo, source %s: %w", w.Prefix, source, failed))
		}
	}
	for h, source := range have {
		if _, ok := want[h]; ok {
			continue
		}
		n++
		if failed := r.RouteDel(r.kernel(h, source)); failed != nil && !errors.Is(failed, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("delete local route %s: %w", h.Prefix, failed))
		}
	}
	return n, err
}

func (r router) list() (map[route]netip.Addr, error) {
	filter := &netlink.Route{Protocol: routeProtocol}
	list, err := r.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	have := make(map[route]netip.Addr, len(list))
	for _, l := range list {
		a, _ := netip.AddrFromSlice(l.Dst.IP)
		ones, _ := l.Dst.Mask.Size()
		source, _ := netip.AddrFromSlice(l.Src)
		have[route{netip.PrefixFrom(a.Unmap(), ones), l.Table}] = source.Unmap()
	}
	return have, nil
}

func (r router) kernel(w route, source netip.Addr) *netlink.Route {
	k := &netlink.Route{
		LinkIndex: r.lo, Table: w.table, Type: unix.RTN_LOCAL, Protocol: routeProtocol, Priority: routeMetric,
		Dst: &net.IPNet{IP: w.Addr().AsSlice(), Mask: net.CIDRMask(w.Bits(), w.Addr().BitLen())},
	}
	if w.Addr().Is4() {
		k.Scope = netlink.SCOPE_HOST
	}
	if source.IsValid() {
		k.Src = source.AsSlice()
	}
	return k
}

// syncRules has a routing rule for each family with external addresses: it costs every packet without a route a little.
func (r router) syncRules(want map[route]netip.Addr) (n int, err error) {
	var need [2]bool
	for w := range want {
		if w.table == lastTable {
			need[familyIndex(w.Addr())] = true
		}
	}
	for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, failed := r.RuleList(family)
		if failed != nil {
			if need[i] {
				err = errors.Join(err, fmt.Errorf("list routing rules: %w", failed))
			}
			continue
		}
		there := false
		for _, l := range list {
			if l.Priority != lastPriority || l.Table != lastTable {
				continue
			}
			if there = need[i]; there {
				continue
			}
			n++
			if failed := r.RuleDel(&l); failed != nil {
				err = errors.Join(err, fmt.Errorf("delete routing rule %d: %w", lastPriority, failed))
			}
		}
		if need[i] && !there {
			n++
			rule := netlink.NewRule()
			rule.Family, rule.Table, rule.Priority, rule.IifName = family, lastTable, lastPriority, "lo"
			if failed := r.RuleAdd(rule); failed != nil {
				err = errors.Join(err, fmt.Errorf("add routing rule %d: %w", lastPriority, failed))
			}
		}
	}
	return n, err
}
