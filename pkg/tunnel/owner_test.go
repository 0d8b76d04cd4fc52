package tunnel

import (
	"net/netip"
	"testing"
	"time"
)

// TestOwner: a node cannot take another's connections by naming its address.
func TestOwner(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range []struct {
		name   string
		claims []Claim
		from   string // the node whose tunnel comes from the address
		want   string
	}{
		{"nobody's", nil, "", ""},
		{"one", []Claim{{"a", early}}, "", "a"},
		{"an older node keeps it", []Claim{{"late", late}, {"early", early}}, "", "early"},
		{"an older node took it in advance", []Claim{{"early", early}, {"late", late}}, "late", "late"},
		{"the API server's own", []Claim{{"early", early}, {"own", late}}, "early", "own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := func(node string, addr netip.Addr) bool {
				return node == c.from && addr == netip.MustParseAddr("10.0.0.1")
			}
			if got := owner("own", "10.0.0.1", c.claims, from); got != c.want {
				t.Errorf("owner %q, want %q", got, c.want)
			}
		})
	}
}
