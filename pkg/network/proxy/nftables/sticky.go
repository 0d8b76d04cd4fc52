package nftables

import (
	"kedge/pkg/network/nft/wire"
)

// forget removes the clients of fronts that have no session affinity any longer. What is left, because entries expired between the
// reading and the writing, does no harm: it expires.
func (b *Backend) forget(gone func(front string) bool) {
	for _, v6 := range []bool{false, true} {
		if err := b.forgetFamily(v6, gone); err != nil {
			b.log.Debug("clients of former services are still remembered for session affinity, until their time is over", "error", err)
		}
	}
}

func (b *Backend) forgetFamily(v6 bool, gone func(front string) bool) error {
	set := definition(sticky, v6)
	var old []wire.Element
	addr := int(addressType(v6).Size)
	err := b.conn.Elements(set.Name, func() { old = nil }, func(e wire.Element) {
		if len(e.Key) > addr && gone(e.Key[addr:]) {
			old = append(old, wire.Element{Key: e.Key})
		}
	})
	if err != nil || len(old) == 0 {
		return err
	}
	batch := wire.NewBatch(tableName())
	batch.DeleteElements(set, old)
	return b.conn.Commit(batch)
}

// stickyFronts are the keys of all fronts with session affinity.
func (m *model) stickyFronts() map[string]bool {
	all := map[string]bool{}
	for _, e := range m.services {
		if e.Affinity == 0 {
			continue
		}
		for f := range e.fronts() {
			all[string(f.key())] = true
		}
	}
	return all
}
