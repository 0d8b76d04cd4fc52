package nftables

import (
	"net/netip"

	"kedge/pkg/network/nft/wire"
)

// delta is what has to become of the elements of each of the tables and of the chains of classes.
type delta struct {
	remove, add [2 * setCount][]wire.Element
	fresh, gone changedChains
	routes      []netip.Addr    // external addresses that came or went
	forget      map[string]bool // keys of fronts that have no session affinity any longer
}

type changedChains struct {
	classes    []familyClass
	affinities []affinity
}

// chains are those of the classes after those that they lead to.
func (c changedChains) chains() []chain {
	var all []chain
	for _, a := range c.affinities {
		all = append(all, a.chains()...)
	}
	for _, k := range c.classes {
		all = append(all, chain{wire.Chain{Name: k.chain(k.v6)}, family{k.v6}.pickRules(k.class)})
	}
	return all
}

func (c familyClass) element() wire.Element {
	return wire.Element{Key: word(uint32(c.class)), Val: c.chain(c.v6)}
}

func (t touched) delta() delta {
	d := delta{forget: map[string]bool{}}
	for f, c := range t.fronts {
		if c.before.valid() && c.before.Affinity > 0 && (!c.after.valid() || c.after.Affinity == 0) {
			d.forget[string(f.key())] = true
		}
		d.front(f, c.before, c.after)
	}
	for a, was := range t.locals {
		d.presence(place(local, a.Is6()), localElement(a), was, t.model.locals[a] > 0)
	}
	for a, was := range t.externals {
		is := t.model.externals[a] > 0
		d.presence(place(external, a.Is6()), wire.Element{Key: string(a.AsSlice())}, was, is)
		if is != was {
			d.routes = append(d.routes, a)
		}
	}
	for c, was := range t.classes {
		is := t.model.classes[c] > 0
		d.presence(place(classes, c.v6), c.element(), was, is)
		changed(&d.fresh.classes, &d.gone.classes, c, was, is)
	}
	for a, was := range t.affinities {
		changed(&d.fresh.affinities, &d.gone.affinities, a, was, t.model.affinities[a] > 0)
	}
	return d
}

func changed[T any](fresh, gone *[]T, what T, was, is bool) {
	switch {
	case is && !was:
		*fresh = append(*fresh, what)
	case was && !is:
		*gone = append(*gone, what)
	}
}

func (d *delta) presence(table int, e wire.Element, was, is bool) {
	switch {
	case is && !was:
		d.add[table] = append(d.add[table], e)
	case was && !is:
		d.remove[table] = append(d.remove[table], e)
	}
}

// front compares the elements of a front.
func (d *delta) front(f front, before, after claim) {
	type key struct {
		id  setID
		key string
	}
	old := map[key]wire.Element{}
	if before.valid() {
		before.write(f, func(id setID, e wire.Element) { old[key{id, e.Key + e.End}] = e })
	}
	if after.valid() {
		after.write(f, func(id setID, e wire.Element) {
			k := key{id, e.Key + e.End}
			was, ok := old[k]
			delete(old, k)
			if ok && was.Val == e.Val {
				return
			}
			table := place(id, f.v6())
			if ok {
				d.remove[table] = append(d.remove[table], was)
			}
			d.add[table] = append(d.add[table], e)
		})
	}
	for k, e := range old {
		d.remove[place(k.id, f.v6())] = append(d.remove[place(k.id, f.v6())], e)
	}
}
