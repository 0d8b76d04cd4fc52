package nftables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft/wire"
	"kedge/pkg/network/proxy/state"
)

// Sync compares the kernel with the wish and writes the difference in one transaction.
func (b *Backend) Sync(node state.Node, all map[state.Key]*state.Service) (int, error) {
	have, err := read(b.conn)
	if err != nil {
		return 0, fmt.Errorf("read services from nftables: %w", err)
	}
	elements, err := b.readElements(have)
	if err != nil {
		return 0, fmt.Errorf("read services from nftables: %w", err)
	}
	here, err := b.routes.addresses()
	if err != nil {
		return 0, err
	}
	m := b.newModel(all, elements, here)
	w := writer{Batch: wire.NewBatch(tableName()), tables: b.tables, have: have, elements: elements}
	w.write(m.chains(node), m.elements(node))
	b.model, b.node = m, node
	if w.differences > 0 {
		if err := b.conn.Commit(w.Batch); err != nil {
			return w.differences, fmt.Errorf("program %d services: %w", len(all), err)
		}
	}
	remembered := m.stickyFronts()
	b.forget(func(f string) bool { return !remembered[f] })
	routes, err := b.routes.sync(b.wantedRoutes())
	if err != nil {
		return w.differences + routes, fmt.Errorf("program routes of services: %w", err)
	}
	return w.differences + routes, nil
}

// contents are the elements of each of the tables: key, with its end for ranges, and data.
type contents [2 * setCount]map[string]string

func (b *Backend) readElements(have content) (contents, error) {
	var all contents
	for i, t := range b.tables {
		all[i] = map[string]string{}
		if signature, ok := have.sets[t.set.Name]; !ok || signature != t.set.Signature() || !t.fixed {
			continue
		}
		restart := func() { clear(all[i]) }
		if err := b.conn.Elements(t.set.Name, restart, func(e wire.Element) { all[i][e.Key+e.End] = e.Val }); err != nil {
			return all, err
		}
	}
	return all, nil
}

// newModel is the model of all services. Endpoints keep their places, those of the former model or, after a restart, of the kernel.
func (b *Backend) newModel(all map[state.Key]*state.Service, elements contents, here map[netip.Addr]bool) model {
	m := newModel(len(all), here)
	t := newTouched(&m)
	for key, s := range all {
		former, ok := b.services[key]
		if !ok && len(b.services) == 0 {
			former = adopt(s, elements)
		}
		t.insert(newEntry(s, former))
	}
	return m
}

// adopt reads from the kernel in which order the endpoints of a service are.
func adopt(s *state.Service, elements contents) *entry {
	e := &entry{Service: s}
	for f := range e.fronts() {
		for pool, offset := range []uint32{state.Cluster: 0, state.Local: localOffset} {
			if e.pools[pool] == nil {
				e.pools[pool] = order(f, offset, elements)
			}
		}
	}
	return e
}

func order(f front, offset uint32, elements contents) []netip.AddrPort {
	var all []netip.AddrPort
	for {
		key := f.indexed(offset + uint32(len(all)))
		value, ok := elements[place(endpoints, f.v6())][key]
		if number, sticky := elements[place(tokens, f.v6())][key]; sticky {
			value, ok = elements[place(endpoints, f.v6())][string(f.key())+number]
		}
		if !ok {
			return all
		}
		all = append(all, parseTarget(value))
	}
}

func parseTarget(value string) netip.AddrPort {
	n := len(value) - 4
	if n < 0 {
		return netip.AddrPort{}
	}
	addr, _ := netip.AddrFromSlice([]byte(value[:n]))
	return netip.AddrPortFrom(addr, uint16(value[n])<<8|uint16(value[n+1]))
}

// chains are all chains of the model.
func (m *model) chains(node state.Node) []chain {
	all := baseChains(node)
	used := changedChains{classes: slices.Collect(maps.Keys(m.classes)), affinities: slices.Collect(maps.Keys(m.affinities))}
	return append(all, used.chains()...)
}

// elements are all elements of the model.
func (m *model) elements(node state.Node) [2 * setCount][]wire.Element {
	var all [2 * setCount][]wire.Element
	add := func(id setID, v6 bool, e wire.Element) { all[place(id, v6)] = append(all[place(id, v6)], e) }
	for _, s := range m.services {
		for f, c := range s.fronts() {
			c.write(f, func(id setID, e wire.Element) { add(id, f.v6(), e) })
		}
	}
	for a := range m.locals {
		add(local, a.Is6(), localElement(a))
	}
	for a := range m.externals {
		add(external, a.Is6(), wire.Element{Key: string(a.AsSlice())})
	}
	for c := range m.classes {
		add(classes, c.v6, c.element())
	}
	for _, v6 := range []bool{false, true} {
		add(classes, v6, familyClass{v6, refuse}.element())
		add(classes, v6, familyClass{v6, drop}.element())
		all[place(nodeports, v6)] = nodePortElements(node, v6)
	}
	return all
}

// writer queues what makes the kernel equal to a wish.
type writer struct {
	*wire.Batch
	tables      []table
	have        content
	elements    contents
	differences int
}

func (w *writer) write(chains []chain, elements [2 * setCount][]wire.Element) {
	w.AddTable()
	known := map[string]bool{}
	for _, t := range w.tables {
		known[t.set.Name] = true
	}
	for _, c := range chains {
		known[c.Name] = true
	}
	if w.unfit(chains) {
		w.differences++
		w.have.queueRemoval(w.Batch, func(string) bool { return true })
		w.have, w.elements = content{}, contents{}
	}
	w.writeSets()
	w.writeChains(chains)
	var missing [2 * setCount][]wire.Element
	for i, t := range w.tables {
		if t.fixed {
			missing[i] = w.removeElements(t.set, w.elements[i], elements[i])
		}
	}
	w.writeRules(chains)
	for i, t := range w.tables {
		w.differences += len(missing[i])
		w.AddElements(t.set, missing[i])
	}
	unknown := func(name string) bool { return !known[name] }
	w.differences += w.have.count(unknown)
	w.have.queueRemoval(w.Batch, unknown)
}

// unfit reports whether a set or chain is of another kind than it should be, for example an older version's.
func (w *writer) unfit(chains []chain) bool {
	for _, t := range w.tables {
		if signature, ok := w.have.sets[t.set.Name]; ok && signature != t.set.Signature() {
			return true
		}
	}
	for _, c := range chains {
		if have, ok := w.have.chains[c.Name]; ok && have != c.Chain {
			return true
		}
	}
	return false
}

func (w *writer) writeSets() {
	for _, t := range w.tables {
		if _, ok := w.have.sets[t.set.Name]; !ok {
			w.differences++
			w.AddSet(t.set)
		}
	}
}

func (w *writer) writeChains(chains []chain) {
	for _, c := range chains {
		if _, ok := w.have.chains[c.Name]; !ok {
			w.differences++
			w.AddChain(c.Chain)
		}
	}
}

// writeRules replaces the rules of chains in which one is missing, foreign, in another place or of another version.
func (w *writer) writeRules(chains []chain) {
	for _, c := range chains {
		_, there := w.have.chains[c.Name]
		if there && c.equal(w.have.rules[c.Name]) {
			continue
		}
		if there {
			w.differences++
			w.FlushChain(c.Name)
		}
		for _, r := range c.rules {
			w.AddRule(c.Name, r)
		}
	}
}

func (c chain) equal(comments []string) bool {
	if len(comments) != len(c.rules) {
		return false
	}
	for i, r := range c.rules {
		if f, err := wire.Fingerprint(r); err != nil || f != comments[i] {
			return false
		}
	}
	return true
}

// removeElements removes what is foreign or wrong and returns what is missing afterwards. It uses up have.
func (w *writer) removeElements(set wire.Set, have map[string]string, want []wire.Element) (missing []wire.Element) {
	var wrong []wire.Element
	for _, e := range want {
		val, ok := have[e.Key+e.End]
		delete(have, e.Key+e.End)
		if ok && val == e.Val {
			continue
		}
		if ok {
			wrong = append(wrong, e)
		}
		missing = append(missing, e)
	}
	for key := range have {
		e := wire.Element{Key: key}
		if set.Flags&unix.NFT_SET_INTERVAL != 0 {
			e.Key, e.End = key[:len(key)/2], key[len(key)/2:]
		}
		w.differences++
		wrong = append(wrong, e)
	}
	w.DeleteElements(set, wrong)
	return missing
}

func (c content) count(match func(string) bool) (n int) {
	for name := range c.sets {
		if match(name) {
			n++
		}
	}
	for name := range c.chains {
		if match(name) {
			n++
		}
	}
	return n
}
