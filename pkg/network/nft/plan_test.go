package nft

import (
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netns"
)

// TestApply: a plan replaces what its component had, also with other types, and leaves the others' parts of the table alone.
func TestApply(t *testing.T) {
	conn := fresh(t)
	ports := PortMap{Name: "b-ports"}
	element := ports.Element(netip.Addr{}, 6, 80, netip.MustParseAddrPort("10.42.0.2:8080"))
	steps := []struct {
		name string
		plan Plan
		want []string
	}{
		{"first", Plan{Prefix: "a-", Chains: []Chain{{Chain: Regular("a-one"), Rules: []Rule{Drop()}}}}, []string{"a-one 1"}},
		{"another component", Plan{
			Prefix: "b-", Sets: []Set{{ports.Set(), []nftables.SetElement{element}}},
			Chains: []Chain{
				{Chain: Regular("b-ports"), Rules: []Rule{ports.Rule()}},
				{Chain: Base("b-nat", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest), Rules: []Rule{Jump("b-ports")}},
			},
		}, []string{"a-one 1", "b-nat 1", "b-ports 1", "set b-ports 1"}},
		{"the same set with another type", Plan{Prefix: "b-", Sets: []Set{{Set: PortMap{Name: "b-ports", V6: true, ByAddress: true}.Set()}}}, []string{"a-one 1", "set b-ports 0"}},
		{"first again", Plan{Prefix: "a-", Chains: []Chain{{Chain: Regular("a-two"), Rules: []Rule{Drop(), Return()}}}}, []string{"a-two 2", "set b-ports 0"}},
	}
	for _, s := range steps {
		if err := s.plan.Apply(conn); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(s.want, contents(t, conn)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
	for range 2 {
		if err := DeleteTable(conn); err != nil {
			t.Error(err)
		}
	}
}

// fresh opens a socket in a namespace of its own.
func fresh(t *testing.T) *nftables.Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// contents lists chains with the number of their rules and sets with that of their elements.
func contents(t *testing.T, conn *nftables.Conn) []string {
	t.Helper()
	var all []string
	chains, err := conn.ListChains()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chains {
		rules, err := conn.GetRules(Table(), c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c.Name+" "+string(rune('0'+len(rules))))
	}
	sets, err := conn.GetSets(Table())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		elements, err := conn.GetSetElements(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, "set "+s.Name+" "+string(rune('0'+len(elements))))
	}
	slices.Sort(all)
	return all
}
