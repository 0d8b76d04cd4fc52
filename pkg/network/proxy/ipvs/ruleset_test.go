package ipvs

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"kedge/pkg/network/nft"
)

// TestRuleset: the kernel takes all sets, chains and kinds of elements, and gives them back as they were written.
func TestRuleset(t *testing.T) {
	inNamespace(t)
	r, err := openRuleset()
	if err != nil {
		t.Fatal(err)
	}
	limits := serviceTimeouts()
	if err := errors.Join(r.removeTimeouts(""), r.addTimeouts(limits)); err != nil {
		t.Fatal(err)
	}
	for i, c := range chains(testNode(), limits) {
		if n, err := r.ensure([]nft.Chain{c}); err != nil || n != 1 {
			t.Errorf("chain %d %s: %d, %v", i, c.Name, n, err)
		}
	}
	if err := r.removeTimeouts(""); err == nil {
		t.Error("timeouts are removed although rules refer to them")
	}
	compareTimeouts(t, r, limits)
	if err := errors.Join(r.remove(), r.removeTimeouts("")); err != nil {
		t.Error(err)
	}
	compareTimeouts(t, r)
}

// TestChangedTimeouts: others take the place of the former ones.
func TestChangedTimeouts(t *testing.T) {
	inNamespace(t)
	r, err := openRuleset()
	if err != nil {
		t.Fatal(err)
	}
	for _, established := range []uint32{432000, 86400} {
		limits := serviceTimeouts()
		limits[expr.CtStateTCPESTABLISHED] = established
		if err := r.addTimeouts(limits); err != nil {
			t.Fatal(err)
		}
		all := chains(testNode(), limits)
		if n, err := r.ensure(all); err != nil || n == 0 {
			t.Errorf("%d chains written, %v", n, err)
		}
		if n, err := r.ensure(all); err != nil || n != 0 {
			t.Errorf("then again %d chains, %v", n, err)
		}
		if err := r.removeTimeouts(limits.name()); err != nil {
			t.Error(err)
		}
		compareTimeouts(t, r, limits)
	}
}

func compareTimeouts(t *testing.T, r *ruleset, want ...timeouts) {
	t.Helper()
	found, err := r.conn.GetNamedObjects(nft.Table())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]expr.CtStatePolicyTimeout{}
	for _, f := range found {
		o := f.(*nftables.NamedObj)
		got[o.Name] = o.Obj.(*expr.CtTimeout).Policy
	}
	wanted := map[string]expr.CtStatePolicyTimeout{}
	for _, w := range want {
		wanted[w.name()] = expr.CtStatePolicyTimeout(w)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
}
