package cni

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/google/nftables"

	"kedge/pkg/network/nft"
)

// firewall keeps the rules and the elements of all attachments, and brings changes of one attachment into the kernel.
type firewall struct {
	conn *nftables.Conn
	log  *slog.Logger

	mu     sync.Mutex
	plan   nft.Plan
	ready  bool             // plan is in the kernel
	owners map[string]owned // by element id
}

// owned is an element with the key of the attachment it belongs to.
type owned struct {
	element
	owner string
}

// apply writes the whole plan with all elements in one transaction.
func (f *firewall) apply(plan nft.Plan) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = plan
	return f.replace()
}

func (f *firewall) replace() error {
	plan := f.plan
	plan.Sets = f.sets()
	for i, s := range plan.Sets {
		for _, o := range f.owners {
			if o.set.Name == s.Name {
				plan.Sets[i].Elements = append(plan.Sets[i].Elements, o.SetElement)
			}
		}
	}
	f.ready = false
	if err := plan.Apply(f.conn); err != nil {
		return err
	}
	f.ready = true
	return nil
}

// sets are the definitions, without elements.
func (f *firewall) sets() []nft.Set {
	var sets []nft.Set
	for _, m := range portMaps() {
		sets = append(sets, nft.Set{Set: m.Set()})
	}
	for _, s := range hairpins() {
		sets = append(sets, nft.Set{Set: s.Set()})
	}
	return sets
}

// adopt takes over the elements of an attachment of a former process; apply brings them into the kernel. The newest must come last.
func (f *firewall) adopt(a *attachment) error {
	elements, err := a.elements()
	if err != nil {
		return err
	}
	for _, e := range elements {
		f.owners[e.id()] = owned{e, a.key()}
	}
	return nil
}

// add brings in the elements of a new attachment. A host port that an older pod has goes to the new one: the older
// is on its way out, or a crash left its record behind.
func (f *firewall) add(a *attachment) error {
	elements, err := a.elements()
	if err != nil || len(elements) == 0 {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var superseded []element
	for _, e := range elements {
		if old, ok := f.owners[e.id()]; ok {
			f.log.Warn("host port is taken over from an older pod", "pod", a.Pod, "container", a.ContainerID, "from", old.owner)
			superseded = append(superseded, old.element)
		}
		f.owners[e.id()] = owned{e, a.key()}
	}
	return f.change(superseded, elements)
}

// remove takes out the elements that belong to the attachment.
func (f *firewall) remove(a *attachment) error {
	elements, err := a.elements()
	if err != nil || len(elements) == 0 {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	elements = slices.DeleteFunc(elements, func(e element) bool { return f.owners[e.id()].owner != a.key() })
	for _, e := range elements {
		delete(f.owners, e.id())
	}
	return f.change(elements, nil)
}

// change sends one transaction, with few messages: the kernel acknowledges each, into a buffer of limited size.
func (f *firewall) change(remove, add []element) error {
	for _, s := range f.sets() {
		if err := nft.Chunks(inSet(remove, s.Name), s.Set, f.conn.SetDeleteElements); err != nil {
			return fmt.Errorf("remove host ports: %w", err)
		}
		if err := nft.Chunks(inSet(add, s.Name), s.Set, f.conn.SetAddElements); err != nil {
			return fmt.Errorf("add host ports: %w", err)
		}
	}
	return f.flush()
}

func inSet(elements []element, name string) []nftables.SetElement {
	var found []nftables.SetElement
	for _, e := range elements {
		if e.set.Name == name {
			found = append(found, e.SetElement)
		}
	}
	return found
}

// flush sends what is queued. When the kernel refuses it, somebody else changed the table: all of it is written anew.
func (f *firewall) flush() error {
	err := f.conn.Flush()
	if err == nil {
		return nil
	}
	if !f.ready {
		return nil // there are no rules yet; apply brings the elements in
	}
	f.log.Warn("nftables table is not as it was left: writing it anew", "table", nft.Table().Name, "error", err)
	return f.replace()
}
