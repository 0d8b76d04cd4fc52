package nftables

import (
	"fmt"
	"net/netip"
	"slices"

	"kedge/pkg/network/nft/wire"
	"kedge/pkg/network/proxy/state"
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

// Update brings changes into the kernel with one transaction of the elements that differ.
func (b *Backend) Update(changes []state.Change) error {
	batch := wire.NewBatch(tableName())
	d := b.change(changes)
	b.queue(batch, &d)
	if err := b.conn.Commit(batch); err != nil {
		return fmt.Errorf("program %d changed services: %w", len(changes), err)
	}
	if len(d.forget) > 0 {
		b.forget(func(f string) bool { return d.forget[f] })
	}
	if len(d.routes) > 0 {
		if _, err := b.routes.sync(b.wantedRoutes()); err != nil {
			return fmt.Errorf("program routes of %d changed services: %w", len(changes), err)
		}
	}
	return nil
}

// queue orders the delta so that nothing is referred to before it exists or after it is gone.
func (b *Backend) queue(batch *wire.Batch, d *delta) {
	for i, t := range b.tables {
		batch.DeleteElements(t.set, d.remove[i])
	}
	for _, c := range d.fresh.chains() {
		batch.AddChain(c.Chain)
		for _, r := range c.rules {
			batch.AddRule(c.Name, r)
		}
	}
	for i, t := range b.tables {
		batch.AddElements(t.set, d.add[i])
	}
	for _, c := range slices.Backward(d.gone.chains()) {
		batch.DeleteChain(c.Name)
	}
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

// change makes changes in the model and says what they mean for the kernel.
func (m *model) change(changes []state.Change) delta {
	t := newTouched(m)
	former := make(map[state.Key]*entry, len(changes))
	for _, c := range changes {
		key := changedKey(c)
		if e, ok := m.services[key]; ok {
			former[key] = e
			t.remove(e)
		}
	}
	for _, c := range changes {
		if c.New == nil {
			continue
		}
		if e, ok := m.services[c.New.Key]; ok {
			t.remove(e) // changed twice
		}
		t.insert(newEntry(c.New, former[c.New.Key]))
	}
	return t.delta()
}

func changedKey(c state.Change) state.Key {
	if c.New != nil {
		return c.New.Key
	}
	return c.Old.Key
}

// touched remembers what changes do, and how things were before.
type touched struct {
	*model
	fronts     map[front]transfer
	locals     map[netip.Addr]bool // it was there
	externals  map[netip.Addr]bool
	classes    map[familyClass]bool
	affinities map[affinity]bool
}

// transfer says who had a front and who has it now.
type transfer struct{ before, after claim }

func newTouched(m *model) touched {
	return touched{
		model: m, fronts: map[front]transfer{}, locals: map[netip.Addr]bool{}, externals: map[netip.Addr]bool{},
		classes: map[familyClass]bool{}, affinities: map[affinity]bool{},
	}
}

func (t touched) remove(e *entry) {
	delete(t.services, e.Key)
	for f, c := range e.fronts() {
		was, seen := t.fronts[f]
		if !seen {
			was.before = c
		}
		was.after = claim{}
		t.fronts[f] = was
		t.countFront(f, c, -1)
	}
	t.count(e, -1)
}

func (t touched) insert(e *entry) {
	t.services[e.Key] = e
	for f, c := range e.fronts() {
		was := t.fronts[f]
		was.after = c
		t.fronts[f] = was
		t.countFront(f, c, +1)
	}
	t.count(e, +1)
}

func (t touched) count(e *entry, by int) {
	for _, pool := range [][]state.Endpoint{e.Cluster, e.Local} {
		for _, endpoint := range pool {
			if endpoint.Local {
				increase(t.model.locals, t.locals, endpoint.Addr(), by)
			}
		}
	}
}

func (t touched) countFront(f front, c claim, by int) {
	if a, ok := c.external(); ok && !t.here[a] {
		increase(t.model.externals, t.externals, a, by)
	}
	inside, outer, differs := c.classes()
	t.countClass(f, inside, by)
	if differs {
		t.countClass(f, outer, by)
	}
}

func (t touched) countClass(f front, c class, by int) {
	if c.empty() {
		return
	}
	increase(t.model.classes, t.classes, familyClass{f.v6(), c}, by)
	if c.sticky() {
		increase(t.model.affinities, t.affinities, family{f.v6()}.affinity(c), by)
	}
}

// increase changes a count and remembers whether there was one before.
func increase[K comparable](counts map[K]int, before map[K]bool, key K, by int) {
	if _, ok := before[key]; !ok {
		before[key] = counts[key] > 0
	}
	if counts[key] += by; counts[key] == 0 {
		delete(counts, key)
	}
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
