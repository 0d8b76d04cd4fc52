package ipvs

import (
	"net/netip"
	"slices"

	"kedge/pkg/network/proxy/ipvs/vs"
	"kedge/pkg/network/proxy/state"
)

// desired is the sum of all wishes. An entry that two services want belongs to the first; it is contested.
type desired struct {
	services  map[state.Key]*state.Service
	held      map[state.Key]held
	servers   map[vs.ID]server
	fronts    map[entry]front
	locals    map[netip.Addr]int // how many services have the endpoint
	routed    map[netip.Addr]int // how many entries have the address
	owner     map[entry]state.Key
	contested map[entry]bool
	former    former
}

// held is which parts of the sum are a service's.
type held struct {
	servers []vs.ID
	fronts  []entry
	locals  []netip.Addr
}

// former is what the parts of the sum were that have been touched since; absent ones with ok false.
type former struct {
	servers map[vs.ID]maybe[server]
	fronts  map[entry]maybe[front]
	locals  map[netip.Addr]maybe[int]
	routed  map[netip.Addr]maybe[int]
}

type maybe[T any] struct {
	value T
	ok    bool
}

// newDesired has room for so many services with one address.
func newDesired(services int) *desired {
	d := &desired{
		services: make(map[state.Key]*state.Service, services), held: make(map[state.Key]held, services),
		servers: make(map[vs.ID]server, services), fronts: make(map[entry]front, services),
		locals: map[netip.Addr]int{}, routed: map[netip.Addr]int{},
		owner: make(map[entry]state.Key, services), contested: map[entry]bool{},
	}
	d.takeFormer()
	return d
}

// takeFormer returns what was touched and begins anew.
func (d *desired) takeFormer() former {
	f := d.former
	d.former = former{map[vs.ID]maybe[server]{}, map[entry]maybe[front]{}, map[netip.Addr]maybe[int]{}, map[netip.Addr]maybe[int]{}}
	return f
}

// touch remembers what key was before it is changed.
func touch[K comparable, V any](former map[K]maybe[V], now map[K]V, key K) {
	if _, ok := former[key]; !ok {
		value, ok := now[key]
		former[key] = maybe[V]{value, ok}
	}
}

// add makes a service's wish part of the sum, without the entries that another service has.
func (d *desired) add(s *state.Service, w wish) {
	key, h := s.Key, held{fronts: make([]entry, 0, len(w.fronts)), servers: make([]vs.ID, 0, len(w.servers)), locals: w.locals}
	for _, f := range w.fronts {
		if owner, ok := d.owner[f.entry]; ok && owner != key {
			d.contested[f.entry] = true
			refused := vs.ID{V6: key.V6, Protocol: f.protocol, AddrPort: f.AddrPort}
			w.servers = slices.DeleteFunc(w.servers, func(v server) bool { return v.ID == refused })
			continue
		}
		touch(d.former.fronts, d.fronts, f.entry)
		d.owner[f.entry], d.fronts[f.entry] = key, f.front
		if f.routed {
			touch(d.former.routed, d.routed, f.Addr())
			d.routed[f.Addr()]++
		}
		h.fronts = append(h.fronts, f.entry)
	}
	for _, v := range w.servers {
		touch(d.former.servers, d.servers, v.ID)
		d.servers[v.ID] = v
		h.servers = append(h.servers, v.ID)
	}
	for _, a := range w.locals {
		touch(d.former.locals, d.locals, a)
		d.locals[a]++
	}
	d.held[key], d.services[key] = h, s
}

// remove takes a service's wish out of the sum. It tells whether another service waits for one of its entries.
func (d *desired) remove(key state.Key) (awaited bool) {
	h := d.held[key]
	for _, e := range h.fronts {
		awaited = awaited || d.contested[e]
		touch(d.former.fronts, d.fronts, e)
		if d.fronts[e].routed {
			touch(d.former.routed, d.routed, e.Addr())
			decrement(d.routed, e.Addr())
		}
		delete(d.owner, e)
		delete(d.fronts, e)
	}
	for _, id := range h.servers {
		touch(d.former.servers, d.servers, id)
		delete(d.servers, id)
	}
	for _, a := range h.locals {
		touch(d.former.locals, d.locals, a)
		decrement(d.locals, a)
	}
	delete(d.held, key)
	delete(d.services, key)
	return awaited
}

func decrement(counts map[netip.Addr]int, a netip.Addr) {
	if counts[a]--; counts[a] <= 0 {
		delete(counts, a)
	}
}

// elements are all elements of all sets.
func (d *desired) elements() map[element]bool {
	all := make(map[element]bool, len(d.fronts)+len(d.locals))
	for e, f := range d.fronts {
		for _, x := range f.elements(e) {
			all[x] = true
		}
	}
	for a := range d.locals {
		all[selfElement(a)] = true
	}
	for a := range d.routed {
		all[routedElement(a)] = true
	}
	return all
}

// elementsOf are the elements of what was touched: as they were, and as they are to be.
func (d *desired) elementsOf(f former) (was, is map[element]bool) {
	was, is = map[element]bool{}, map[element]bool{}
	for e, old := range f.fronts {
		if old.ok {
			include(was, old.value.elements(e)...)
		}
		if now, ok := d.fronts[e]; ok {
			include(is, now.elements(e)...)
		}
	}
	addresses(was, is, f.locals, d.locals, selfElement)
	addresses(was, is, f.routed, d.routed, routedElement)
	return was, is
}

func addresses(was, is map[element]bool, f map[netip.Addr]maybe[int], now map[netip.Addr]int, of func(netip.Addr) element) {
	for a, old := range f {
		if old.ok {
			was[of(a)] = true
		}
		if now[a] > 0 {
			is[of(a)] = true
		}
	}
}

func include(set map[element]bool, elements ...element) {
	for _, e := range elements {
		set[e] = true
	}
}
