package nftables

import (
	"iter"
	"net/netip"

	"kedge/pkg/network/proxy/state"
)

// entry is a service as it is in the kernel, or is about to be. It does not change.
type entry struct {
	*state.Service
	pools [2][]netip.AddrPort // by state.Pool: the endpoints in the order of their numbers
}

// newEntry arranges the endpoints of a service like those of the entry that it replaces, if there is one.
func newEntry(s *state.Service, former *entry) *entry {
	e := &entry{Service: s}
	limit := maxEndpoints(s.Affinity)
	for pool, wanted := range [][]state.Endpoint{state.Cluster: s.Cluster, state.Local: s.Local} {
		var order []netip.AddrPort
		if former != nil {
			order = former.pools[pool]
		}
		e.pools[pool] = arrange(order, wanted[:min(limit, len(wanted))])
	}
	return e
}

// fronts are all of a service.
func (e *entry) fronts() iter.Seq2[front, claim] {
	return func(yield func(front, claim) bool) {
		for i := range e.Frontends {
			if !yield(e.front(&e.Frontends[i]), claim{e, &e.Frontends[i]}) {
				return
			}
		}
	}
}

func (e *entry) front(f *state.Frontend) front {
	addr := f.Address
	if !addr.IsValid() {
		addr = unspecified(e.Key.V6)
	}
	return front{netip.AddrPortFrom(addr, f.Port), e.Protocol}
}

// claim is a front of a service. No two services have a front in common (package state).
type claim struct {
	*entry
	frontend *state.Frontend
}

func (c claim) valid() bool { return c.entry != nil }

// external is the address of a front that another machine may have as well.
func (c claim) external() (netip.Addr, bool) {
	kind := c.frontend.Kind
	return c.frontend.Address, kind == state.ExternalIP || kind == state.LoadBalancer
}
