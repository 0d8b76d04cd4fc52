package netns

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft/wire"
)

// snapshot is all that a proxy could leave in the node's namespace, as text.
type snapshot []string

func takeSnapshot(t *testing.T) snapshot {
	t.Helper()
	var s snapshot
	add := func(format string, args ...any) { s = append(s, fmt.Sprintf(format, args...)) }
	for _, r := range must(netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE))(t) {
		if r.Flags&unix.RTM_F_CLONED == 0 {
			add("route %s", r)
		}
	}
	for _, r := range must(netlink.RuleList(netlink.FAMILY_ALL))(t) {
		add("rule %s", r)
	}
	for _, l := range must(netlink.LinkList())(t) {
		add("link %s", l.Attrs().Name)
		for _, a := range must(netlink.AddrList(l, netlink.FAMILY_ALL))(t) {
			add("address %s on %s", a.IPNet, l.Attrs().Name)
		}
	}
	services, err := os.ReadFile("/proc/thread-self/net/ip_vs")
	if err == nil {
		for line := range strings.Lines(string(services)) {
			add("ip_vs %s", strings.Join(strings.Fields(line), " "))
		}
	}
	s = append(s, takeRules(t)...)
	slices.Sort(s)
	return s
}

// takeRules lists tables, their objects, chains with the number of their rules and sets with the number of their elements.
func takeRules(t *testing.T) (s snapshot) {
	t.Helper()
	conn := must(nftables.New())(t)
	for _, table := range must(conn.ListTables())(t) {
		s = append(s, fmt.Sprintf("table %d %s", table.Family, table.Name))
		for _, set := range must(conn.GetSets(table))(t) {
			elements := must(conn.GetSetElements(set))(t)
			s = append(s, fmt.Sprintf("set %s %s with %d elements", table.Name, set.Name, len(elements)))
		}
		for _, o := range must(conn.GetNamedObjects(table))(t) {
			if named, ok := o.(*nftables.NamedObj); ok {
				s = append(s, fmt.Sprintf("object %s %s", table.Name, named.Name))
			}
		}
	}
	for _, c := range must(conn.ListChains())(t) {
		s = append(s, fmt.Sprintf("chain %s %s with %d rules", c.Table.Name, c.Name, countRules(t, conn, c)))
	}
	return s
}

// countRules asks kedge's own code where the library might meet rules that it cannot read.
func countRules(t *testing.T, conn *nftables.Conn, c *nftables.Chain) (n int) {
	t.Helper()
	if c.Table.Family != nftables.TableFamilyINet {
		return len(must(conn.GetRules(c.Table, c))(t))
	}
	table := must(wire.Open(c.Table.Name))(t)
	defer func() { check(t, table.Close()) }()
	for _, r := range must(table.Rules())(t) {
		if r.Chain == c.Name {
			n++
		}
	}
	return n
}

// compare reports what is different now.
func (s snapshot) compare(t *testing.T, when string) {
	t.Helper()
	now := takeSnapshot(t)
	// The table of all of kedge may stay: the pod network shares it.
	now = slices.DeleteFunc(now, func(line string) bool { return line == "table 1 kedge" && !slices.Contains(s, line) })
	equal(t, when, s, now)
}

// entries leaves out chains and empty sets, which may wait for the next service that needs them.
func (s snapshot) entries() snapshot {
	return slices.DeleteFunc(slices.Clone(s), func(line string) bool {
		return strings.HasPrefix(line, "chain ") || strings.HasSuffix(line, " with 0 elements")
	})
}

func (s snapshot) only(prefixes ...string) (lines snapshot) {
	for _, line := range s {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(line, p) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

func equal(t *testing.T, when string, want, got snapshot) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the kernel %s (-want +got):\n%s", when, diff)
	}
}
