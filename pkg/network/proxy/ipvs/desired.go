package ipvs

import (
	"net/netip"

	"kedge/pkg/network/proxy/ipvs/vs"
	"kedge/pkg/network/proxy/state"
)

// desired is the sum of all wishes. An entry that two services want belongs to the first; it is contested.
type desired struct {
	services  map[state.Key]*state.Service
	wishes    map[state.Key]wish
	servers   map[vs.ID]server
	fronts    map[entry]front
	locals    map[netip.Addr]int // how many services have the endpoint
	routed    map[netip.Addr]int // how many entries have the address
	owner     map[entry]state.Key
	contested map[entry]bool
	former    former
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

func newDesired() *desired {
	d := &desired{
		services: map[state.Key]*state.Service{}, wishes: map[state.Key]wish{},
		servers: map[vs.ID]server{}, fronts: map[entry]front{},
		locals: map[netip.Addr]int{}, routed: map[netip.Addr]int{},
		owner: map[entry]state.Key{}, contested: map[entry]bool{},
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
	key := s.Key
	for e, f := range w.fronts {
		if owner, ok := d.owner[e]; ok && owner != key {
			d.contested[e] = true
			delete(w.fronts, e)
			delete(w.servers, vs.ID{V6: key.V6, Protocol: e.protocol, AddrPort: e.AddrPort})
			continue
		}
		touch(d.former.fronts, d.fronts, e)
		d.owner[e], d.fronts[e] = key, f
		if f.routed {
			touch(d.former.routed, d.routed, e.Addr())
			d.routed[e.Addr()]++
		}
	}
	for id, v := range w.servers {
		touch(d.former.servers, d.servers, id)
		d.servers[id] = v
	}
	for _, a := range w.locals {
		touch(d.former.locals, d.locals, a)
		d.locals[a]++
	}
	d.wishes[key], d.services[key] = w, s
}

// remove takes a service's wish out of the sum. It tells whether another service waits for one of its entries.
func (d *desired) remove(key state.Key) (awaited bool) {
	w := d.wishes[key]
	for e, f := range w.fronts {
		awaited = awaited || d.contested[e]
		touch(d.former.fronts, d.fronts, e)
		delete(d.owner, e)
		delete(d.fronts, e)
		if f.routed {
			touch(d.former.routed, d.routed, e.Addr())
			decrement(d.routed, e.Addr())
		}
	}
	for id := range w.servers {
		touch(d.former.servers, d.servers, id)
		delete(d.servers, id)
	}
	for _, a := range w.locals {
		touch(d.former.locals, d.locals, a)
		decrement(d.locals, a)
	}
	delete(d.wishes, key)
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
