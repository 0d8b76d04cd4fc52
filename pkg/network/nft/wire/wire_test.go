package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func fresh(t *testing.T) *Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	ns, err := netns.New()
	check(t, err)
	t.Cleanup(func() { _ = ns.Close() })
	c, err := Open("test")
	check(t, err)
	t.Cleanup(func() { check(t, c.Close()) })
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func numbers(n int) (all []Element) {
	for i := range n {
		key := binary.NativeEndian.AppendUint32(nil, uint32(i))
		all = append(all, Element{Key: string(key), Val: string(key)})
	}
	return all
}

// TestMany: a transaction of many more elements than a message holds arrives whole, and is read whole: at once, while the kernel still
// makes room for them, which not every round meets.
func TestMany(t *testing.T) {
	const n, rounds = 20000, 10
	set := Set{Name: "many", Key: []Type{Mark()}, Data: []Type{Mark()}}
	for round := range rounds {
		c, b := fresh(t), NewBatch("test")
		b.AddTable()
		b.AddSet(set)
		b.AddElements(set, numbers(n))
		check(t, c.Commit(b))
		found := map[string]string{}
		check(t, c.Elements(set.Name, func() { clear(found) }, func(e Element) { found[e.Key] = e.Val }))
		for _, e := range numbers(n) {
			if found[e.Key] != e.Val {
				t.Fatalf("round %d: element %x: %x, want %x; %d elements", round, e.Key, found[e.Key], e.Val, len(found))
			}
		}
		if len(found) != n {
			t.Errorf("round %d: %d elements, want %d", round, len(found), n)
		}
		sets, err := c.Sets()
		check(t, err)
		if len(sets) != 1 || sets[0] != (SetInfo{set.Name, set.Signature()}) {
			t.Errorf("round %d: sets: %v, want %s, %s", round, sets, set.Name, set.Signature())
		}
	}
}

// TestRefused: a transaction that is refused changes nothing and says which of its messages it was.
func TestRefused(t *testing.T) {
	c, set := fresh(t), Set{Name: "set", Key: []Type{Mark()}}
	if sets, err := c.Sets(); err != nil || len(sets) > 0 {
		t.Errorf("without a table: sets %v, error %v", sets, err)
	}
	for _, s := range []struct {
		name  string
		queue func(*Batch)
		want  error
		text  string
	}{
		{"element that is not there", func(b *Batch) { b.DeleteElements(set, numbers(1)) }, unix.ENOENT, "nftables transaction, message 3 of 3, delete elements of set set: no such file or directory"},
		{"chain that is not there", func(b *Batch) { b.FlushChain("no"); b.AddChain(Chain{Name: "c"}) }, unix.ENOENT, "nftables transaction, message 3 of 4, flush chain no: no such file or directory"},
		{"loop", func(b *Batch) {
			b.AddChain(Chain{Name: "c", Type: "filter", Hook: unix.NF_INET_FORWARD})
			b.AddChain(Chain{Name: "d"})
			b.AddRule("c", []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "d"}})
			b.AddRule("d", []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "d"}})
		}, unix.ELOOP, ""},
	} {
		b := NewBatch("test")
		b.AddTable()
		b.AddSet(set)
		s.queue(b)
		err := c.Commit(b)
		if !errors.Is(err, s.want) && !errors.Is(err, unix.EMLINK) {
			t.Errorf("%s: %v, want %v", s.name, err, s.want)
		}
		if s.text != "" && fmt.Sprint(err) != s.text {
			t.Errorf("%s: %q, want %q", s.name, err, s.text)
		}
		if sets, err := c.Sets(); err != nil || len(sets) > 0 {
			t.Errorf("%s: afterwards there are sets %v, error %v", s.name, sets, err)
		}
	}
}

// TestRules: a rule that was added is known by its fingerprint.
func TestRules(t *testing.T) {
	c, rule := fresh(t), []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	chain := Chain{Name: "c", Type: "nat", Hook: unix.NF_INET_POST_ROUTING, Priority: -7}
	b := NewBatch("test")
	b.AddTable()
	b.AddChain(chain)
	b.AddRule("c", rule)
	check(t, c.Commit(b))
	want, err := Fingerprint(rule)
	check(t, err)
	rules, err := c.Rules()
	check(t, err)
	if len(rules) != 1 || rules[0] != (Rule{"c", want}) {
		t.Errorf("rules: %v, want one with comment %s", rules, want)
	}
	chains, err := c.Chains()
	check(t, err)
	if len(chains) != 1 || chains[0] != chain {
		t.Errorf("chains: %v, want %v", chains, chain)
	}
}
