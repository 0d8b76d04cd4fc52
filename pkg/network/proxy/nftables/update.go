package nftables

import (
	"fmt"
	"net/netip"
	"slices"

	"kedge/pkg/network/nft/wire"
	"kedge/pkg/network/proxy/state"
)

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
