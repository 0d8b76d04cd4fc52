package nftables

import (
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft/wire"
)

// writer queues what makes the kernel equal to a wish.
type writer struct {
	*wire.Batch
	tables      []table
	have        content
	elements    contents
	differences int
}

// write queues everything. Its parts stand in an order in which nothing is referred to that is not there.
func (w *writer) write(chains []chain, each func(func(table int, e wire.Element))) {
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
	missing := w.removeElements(each)
	w.writeRules(chains)
	for i, t := range w.tables {
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

// removeElements removes what is foreign or wrong and returns what is missing afterwards. It uses up the elements of the kernel.
func (w *writer) removeElements(each func(func(table int, e wire.Element))) (missing [2 * setCount][]wire.Element) {
	var wrong [2 * setCount][]wire.Element
	each(func(i int, e wire.Element) {
		key := e.Key + e.End
		val, ok := w.elements[i][key]
		delete(w.elements[i], key)
		if ok && val == e.Val {
			return
		}
		if ok {
			wrong[i] = append(wrong[i], e)
		}
		w.differences++
		missing[i] = append(missing[i], e)
	})
	for i, t := range w.tables {
		for key := range w.elements[i] {
			e := wire.Element{Key: key}
			if t.set.Flags&unix.NFT_SET_INTERVAL != 0 {
				e.Key, e.End = key[:len(key)/2], key[len(key)/2:]
			}
			w.differences++
			wrong[i] = append(wrong[i], e)
		}
		w.DeleteElements(t.set, wrong[i])
	}
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
