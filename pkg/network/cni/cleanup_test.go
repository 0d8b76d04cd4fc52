package cni

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// TestCleanup: the namespace is afterwards exactly as before, with everything in it that is not kedge's.
func TestCleanup(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	foreign(t)
	cfg := testConfig(t)
	before := snapshot(t)
	n := startDual(t, cfg)
	n.addPod(t, "a", ports("tcp 30080 8080", "udp 30080 8080"))
	gone := n.addPod(t, "b", ports("tcp 31080 8080"))
	gone.close(t)
	n.stop()
	if cmp.Equal(before, snapshot(t)) {
		t.Error("the snapshot does not see what a pod network brings")
	}
	for range 2 {
		check(t, Cleanup(cfg.paths()))
		if diff := cmp.Diff(before, snapshot(t)); diff != "" {
			t.Errorf("Cleanup leaves (-before +after):\n%s", diff)
		}
	}
	for _, path := range []string{cfg.Socket, cfg.StateDir, cfg.confFile()} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// foreign makes things that look like kedge's.
func foreign(t *testing.T) {
	t.Helper()
	h := (*space)(nil).handle(t)
	check(t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "kdgforeign", TxQLen: -1}, PeerName: "peer"}))
	check(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "kdgbridge", TxQLen: -1, HardwareAddr: gatewayMAC()}}))
	check(t, h.AddrAdd(must(h.LinkByName("lo"))(t), &netlink.Addr{IPNet: hostNet(testConfig(t).NodeIPs[0].Next().Next())}))
	conn := must(nftables.New())(t)
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "foreign"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "pod-foreign"})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: nft.Drop()})
	check(t, conn.Flush())
}

// snapshot describes links, addresses, routes, neighbours and nftables of the node.
func snapshot(t *testing.T) []string {
	t.Helper()
	h := (*space)(nil).handle(t)
	var all []string
	for _, l := range must(h.LinkList())(t) {
		a := l.Attrs()
		all = append(all, fmt.Sprintf("link %s %s %s mtu %d flags %v", a.Name, l.Type(), a.HardwareAddr, a.MTU, a.Flags))
	}
	for _, a := range must(h.AddrList(nil, netlink.FAMILY_ALL))(t) {
		all = append(all, fmt.Sprintf("address %d %s scope %d flags %d", a.LinkIndex, a.IPNet, a.Scope, a.Flags))
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	for _, r := range must(h.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE))(t) {
		all = append(all, "route "+r.String())
	}
	for _, n := range must(h.NeighList(0, netlink.FAMILY_ALL))(t) {
		if n.State&netlink.NUD_PERMANENT != 0 {
			all = append(all, "neighbour "+n.String())
		}
	}
	for _, s := range must(forwardingSettings(true))(t) {
		all = append(all, "parameter "+s.path+" "+must(readSysctl(s.path))(t))
	}
	all = append(all, ruleset(t)...)
	slices.Sort(all)
	return all
}

// ruleset describes everything in nftables, rules as the kernel has them.
func ruleset(t *testing.T) []string {
	t.Helper()
	conn := must(nftables.New())(t)
	var all []string
	for _, table := range must(conn.ListTables())(t) {
		all = append(all, "table "+table.Name)
		for _, s := range must(conn.GetSets(table))(t) {
			all = append(all, fmt.Sprintf("set %s %s elements %v", table.Name, s.Name, must(conn.GetSetElements(s))(t)))
		}
	}
	for _, c := range must(conn.ListChains())(t) {
		all = append(all, fmt.Sprintf("chain %s %s %s", c.Table.Name, c.Name, c.Type))
		for i, r := range must(conn.GetRules(c.Table, c))(t) {
			line := fmt.Sprintf("rule %s %s %d", c.Table.Name, c.Name, i)
			for _, e := range r.Exprs {
				line += fmt.Sprintf(" %+v", e)
			}
			all = append(all, line)
		}
	}
	return all
}
