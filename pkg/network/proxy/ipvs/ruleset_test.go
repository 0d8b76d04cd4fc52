package ipvs

import (
	"testing"

	"kedge/pkg/network/nft"
)

// TestRuleset: the kernel takes all sets, chains and kinds of elements, and gives them back as they were written.
func TestRuleset(t *testing.T) {
	inNamespace(t)
	r, err := openRuleset()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range chains(testNode()) {
		if n, err := r.ensure([]nft.Chain{c}); err != nil || n != 1 {
			t.Errorf("chain %d %s: %d, %v", i, c.Name, n, err)
		}
	}
}
