package cni

import (
	"fmt"
	"log/slog"
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
	f.ready = false
	if err := plan.Apply(f.conn); err != nil {
		return err
	}
	f.ready = true
	return nil
}

func (f *firewall) sets() []nft.Set {
	var sets []nft.Set
	for _, m := range portMaps() {
		sets = append(sets, nft.Set{Set: m.Set()})
	}
	for _, s := range hairpins() {
		sets = append(sets, nft.Set{Set: s.Set()})
	}
	for i, s := range sets {
		for _, o := range f.owners {
			if o.set.Name == s.Name {
				sets[i].Elements = append(sets[i].Elements, o.SetElement)
			}
		}
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
	for _, e := range elements {
		if old, ok := f.owners[e.id()]; ok {
			if old.owner != a.key() {
				f.log.Warn("host port is taken over from an older pod", "pod", a.Pod, "container", a.ContainerID, "from", old.owner)
			}
			if err := f.conn.SetDeleteElements(old.set, []nftables.SetElement{old.SetElement}); err != nil {
				return fmt.Errorf("remove host port: %w", err)
			}
		}
		f.owners[e.id()] = owned{e, a.key()}
		if err := f.conn.SetAddElements(e.set, []nftables.SetElement{e.SetElement}); err != nil {
			return fmt.Errorf("add host port: %w", err)
		}
	}
	return f.flush()
}

// remove takes out the elements that belong to the attachment.
func (f *firewall) remove(a *attachment) error {
	elements, err := a.elements()
	if err != nil || len(elements) == 0 {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range elements {
		if f.owners[e.id()].owner != a.key() {
			continue
		}
		delete(f.owners, e.id())
		if err := f.conn.SetDeleteElements(e.set, []nftables.SetElement{e.SetElement}); err != nil {
			return fmt.Errorf("remove host port: %w", err)
		}
	}
	return f.flush()
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
