package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"kedge/pkg/network/proxy/state"
)

// Update implements state.Backend.
func (b *Backend) Update(changes []state.Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.want.takeFormer()
	b.wishFor(changes)
	f := b.want.takeFormer()
	routed, unrouted := b.reroute(f)
	errs := b.addRoutes(routed)
	was, is := b.want.elementsOf(f)
	first, second, early, add := split(was, is)
	errs = append(errs, b.rules.change(first, early))
	requests := b.drain.requests(f.servers, b.want.servers)
	errs = append(errs, b.do(requests)...)
	errs = append(errs, b.rules.change(second, add))
	for _, r := range unrouted {
		errs = append(errs, b.routes.delete(r))
	}
	if len(unrouted) > 0 {
		_, err := b.routes.ensureRules(b.families())
		errs = append(errs, err...)
	}
	b.watchDrain()
	return errors.Join(errs...)
}

// wishFor brings changes into the sum of wishes: first what goes, so that its addresses are free for what comes.
func (b *Backend) wishFor(changes []state.Change) {
	awaited := false
	for _, c := range changes {
		if c.Old != nil {
			awaited = b.want.remove(c.Old.Key) || awaited
		}
		if c.New != nil {
			awaited = b.want.remove(c.New.Key) || awaited
		} else if c.Old != nil {
			b.marks.release(c.Old.Key)
		}
	}
	sh := b.shaper()
	for _, c := range changes {
		if c.New != nil {
			b.want.add(c.New, sh.wish(c.New))
		}
	}
	if awaited { // somebody else may have them now; who, nobody has noted: it is rare
		b.addAll(b.want.services)
	}
}

// addAll adds services in the order of their names, so that who has a contested entry does not depend on chance.
func (b *Backend) addAll(services map[state.Key]*state.Service) {
	keys := make([]state.Key, 0, len(services))
	for key := range services {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	clear(b.want.contested)
	sh := b.shaper()
	for _, key := range keys {
		s := services[key]
		b.want.remove(key)
		b.want.add(s, sh.wish(s))
	}
	for e := range b.want.contested {
		b.opts.Log.Warn("two services want the same address and port: only the first has it", "address", e.AddrPort, "service", b.want.owner[e])
	}
}

// split says what to remove before virtual servers are changed, because the entry goes, and what to remove after that; what to add before,
// because a new endpoint on this node may be chosen for its own connections at once, and what to add after.
func split(was, is map[element]bool) (first, second, early, add []element) {
	known := map[string]bool{}
	for e := range is {
		if e.set == setKnown {
			known[e.key] = true
		}
	}
	for e := range was {
		switch {
		case is[e]:
		case e.isEntry() && !known[e.key[:e.entrySize()]]:
			first = append(first, e)
		default:
			second = append(second, e)
		}
	}
	for e := range is {
		switch {
		case was[e]:
		case e.set == setSelf:
			early = append(early, e)
		default:
			add = append(add, e)
		}
	}
	return first, second, early, add
}

// reroute are the routes that were not needed before, and those that are not needed any more.
func (b *Backend) reroute(f former) (routed, unrouted []route) {
	for a, old := range f.routed {
		r := route{netip.PrefixFrom(a, a.BitLen()), routeTable}
		switch needed := b.want.routed[a] > 0; {
		case needed && !old.ok:
			routed = append(routed, r)
		case !needed && old.ok:
			unrouted = append(unrouted, r)
		}
	}
	return routed, unrouted
}

func (b *Backend) addRoutes(routed []route) []error {
	if len(routed) == 0 {
		return nil
	}
	_, errs := b.routes.ensureRules(b.families())
	for _, r := range routed {
		errs = append(errs, b.routes.add(r, sourcesOf(b.node, b.here)))
	}
	return errs
}

// families are those with routed addresses.
func (b *Backend) families() map[bool]bool { return needTable(wantedRoutes(b.node, b.want.routed)) }

func compareKeys(a, b state.Key) int {
	if c := compareStrings(a.Namespace, b.Namespace, a.Name, b.Name, a.Port, b.Port); c != 0 {
		return c
	}
	return compareStrings(fmt.Sprint(a.V6), fmt.Sprint(b.V6))
}
