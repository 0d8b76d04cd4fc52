package proxy

import (
	"time"

	upstream "k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/state"
)

// wishes holds what is wanted of every service port, and finds what has become different.
type wishes struct {
	families []*family
	node     state.Node
	labels   map[string]string // of the node: its topology

	wanted map[state.Key]*state.Service // without frontends that others have
	asked  map[state.Key]*state.Service // with them, where that makes a difference
	claims claims
}

// batch is what has become different since the last one.
type batch struct {
	changes  []state.Change
	touched  map[*family][]upstream.ServicePortName
	triggers map[*family][]time.Time
}

func newWishes(node state.Node, v4, v6 bool) *wishes {
	w := &wishes{
		node: node, claims: newClaims(),
		wanted: map[state.Key]*state.Service{}, asked: map[state.Key]*state.Service{},
	}
	if v4 {
		w.families = append(w.families, newFamily(false, node.Name))
	}
	if v6 {
		w.families = append(w.families, newFamily(true, node.Name))
	}
	return w
}

// relabel makes the next batch consider everything anew.
func (w *wishes) relabel(labels map[string]string) {
	w.labels = labels
	for _, f := range w.families {
		f.touchAll()
	}
}

// collect takes over what the trackers were told. Changes that free frontends come before those that take them.
func (w *wishes) collect() batch {
	b := batch{touched: map[*family][]upstream.ServicePortName{}, triggers: map[*family][]time.Time{}}
	dirty := map[state.Key]struct{}{}
	for _, f := range w.families {
		names, triggers := f.checkout()
		b.touched[f], b.triggers[f] = names, triggers
		for _, name := range names {
			w.ask(f, name, dirty)
		}
	}
	var later []state.Change
	for key := range dirty {
		c := state.Change{Old: w.wanted[key]}
		c.New = w.grant(key)
		switch {
		case c.Old.Equal(c.New):
		case c.Old != nil && (c.New == nil || len(c.New.Frontends) < len(c.Old.Frontends)):
			b.changes = append(b.changes, c)
		default:
			later = append(later, c)
		}
	}
	b.changes = append(b.changes, later...)
	return b
}

// ask computes the wish for one service port and adds to dirty whom that concerns.
func (w *wishes) ask(f *family, name upstream.ServicePortName, dirty map[state.Key]struct{}) {
	key := f.key(name)
	old := w.asking(key)
	var now *state.Service
	if port, ok := f.ports[name]; ok {
		now = state.Of(key, port, f.endpoints[name], w.node, w.labels)
	}
	if old.Equal(now) {
		return
	}
	dirty[key] = struct{}{}
	for _, other := range w.claims.replace(old, now) {
		dirty[other] = struct{}{}
		if _, ok := w.asked[other]; !ok {
			w.asked[other] = w.wanted[other]
		}
	}
	w.asked[key] = now
}

// asking is what was computed last for a key.
func (w *wishes) asking(key state.Key) *state.Service {
	if s, ok := w.asked[key]; ok {
		return s
	}
	return w.wanted[key]
}

// grant brings wanted up to date for a key of which asked was set, and returns what is wanted now.
func (w *wishes) grant(key state.Key) *state.Service {
	asked := w.asking(key)
	if asked == nil {
		delete(w.asked, key)
		delete(w.wanted, key)
		return nil
	}
	granted := w.claims.granted(asked)
	w.wanted[key], w.asked[key] = granted, asked
	if granted == asked {
		delete(w.asked, key)
	}
	return granted
}
