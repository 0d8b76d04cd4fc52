package nftables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

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
	w.write(m.chains(node), func(visit func(int, wire.Element)) { m.each(node, visit) })
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

// each calls visit with every element of the model and the place of its table.
func (m *model) each(node state.Node, visit func(table int, e wire.Element)) {
	for _, s := range m.services {
		for f, c := range s.fronts() {
			c.write(f, func(id setID, e wire.Element) { visit(place(id, f.v6()), e) })
		}
	}
	for a := range m.locals {
		visit(place(local, a.Is6()), localElement(a))
	}
	for a := range m.externals {
		visit(place(external, a.Is6()), wire.Element{Key: string(a.AsSlice())})
	}
	for c := range m.classes {
		visit(place(classes, c.v6), c.element())
	}
	for _, v6 := range []bool{false, true} {
		visit(place(classes, v6), familyClass{v6, refuse}.element())
		visit(place(classes, v6), familyClass{v6, drop}.element())
		for _, e := range nodePortElements(node, v6) {
			visit(place(nodeports, v6), e)
		}
	}
}
