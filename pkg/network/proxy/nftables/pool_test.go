package nftables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"kedge/pkg/network/proxy/state"
)

// TestArrange: endpoints that stay keep their place where that is possible.
func TestArrange(t *testing.T) {
	for _, c := range []struct{ former, wanted, want string }{
		{"", "1 2 3", "1 2 3"},
		{"1 2 3", "1 2 3", "1 2 3"},
		{"2 3", "1 2 3", "2 3 1"},
		{"1 2 3", "2 3", "3 2"},
		{"1 2 3 4", "3 4", "3 4"},
		{"1 2 3", "1 3 4", "1 4 3"},
		{"1 2 3", "4 5", "4 5"},
		{"1", "", ""},
		{"1 1 2", "1 2", "1 2"}, // no process of ours leaves this
	} {
		var former []netip.AddrPort
		for _, e := range numbered(c.former) {
			former = append(former, e.AddrPort)
		}
		var got []string
		for _, e := range arrange(former, numbered(c.wanted)) {
			got = append(got, fmt.Sprint(e.Port()))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%q after %q: %q, want %q", c.wanted, c.former, text, c.want)
		}
	}
}

func numbered(ports string) (all []state.Endpoint) {
	for p := range strings.FieldsSeq(ports) {
		all = append(all, endpointList("10.42.0.1:"+p)...)
	}
	return all
}

// TestTokens: a token depends on the endpoint alone, and no two endpoints of a pool have the same.
func TestTokens(t *testing.T) {
	var order []netip.AddrPort
	for i := range 2000 {
		order = append(order, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)}), 80))
	}
	all := tokensOf(order, 0)
	seen := map[uint32]bool{}
	for _, token := range all {
		seen[token] = true
	}
	if len(seen) != len(order) {
		t.Errorf("%d tokens for %d endpoints", len(seen), len(order))
	}
	slices.Reverse(order)
	for e, token := range tokensOf(order[:1000], 0) {
		if all[e] != token {
			t.Errorf("%s: token %#x among fewer, %#x among all", e, token, all[e])
		}
	}
}

// TestClass: what a class is made of can be read from it, and its chain's name says it.
func TestClass(t *testing.T) {
	for _, c := range []struct {
		class class
		want  string
	}{
		{refuse, "svc-refuse"},
		{drop, "svc-drop"},
		{newClass(5, 0, 0), "svc-pick4-5"},
		{newClass(5, 0, classLocal|classPort), "svc-pick4-5-local-port"},
		{newClass(100000, 0, classMark), "svc-pick4-100000-mark"},
		{newClass(2047, 86400e9, 0), "svc-pick4-2047-86400s"},
	} {
		if got := c.class.chain(false); got != c.want {
			t.Errorf("class %#x: %s, want %s", uint32(c.class), got, c.want)
		}
	}
}
