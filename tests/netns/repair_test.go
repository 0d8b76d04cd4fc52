package netns

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// rich has every kind of frontend.
func rich() *v1.Service {
	return balanced(exposed(newService("web", 10, tcp(80), udp(80)), v1.ServiceExternalTrafficPolicyLocal), "external", "lb")
}

func (w *world) checkRich(t *testing.T) {
	t.Helper()
	w.check(
		t,
		probe{"c", "tcp web:80", "a from c, d from c"},
		probe{"node", "udp web:80", "a from node, d from node"},
		probe{"outside", "tcp web:80", "a from node, d from node"},
		probe{"outside", "tcp node:30080", "a from outside"},
		probe{"outside", "udp lb:80", "a from outside"},
		probe{"c", "tcp external:80", "a from c, d from c"},
		probe{"a", "tcp node:30080", "a from node, d from a"},
	)
}

// TestRepair: what somebody else takes away or adds is found and repaired by the next sync, one kind of damage after the other.
func TestRepair(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		w.set(t, rich(), ready("a", "d")...)
		w.checkRich(t)
		for _, damage := range damages(t) {
			damage.do(t)
			if n := w.sync(t); n == 0 {
				t.Errorf("%s: sync found nothing", damage.name)
			}
			w.checkRich(t)
			if n := w.sync(t); n != 0 {
				t.Errorf("%s: sync found %d differences again", damage.name, n)
			}
		}
	})
}

type damage struct {
	name string
	do   func(*testing.T)
}

// damages are to be done one by one: each chain flushed, each set emptied, the whole table gone, routes and virtual servers gone.
func damages(t *testing.T) []damage {
	t.Helper()
	conn := must(nftables.New())(t)
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: "kedge"}
	var all []damage
	for _, c := range must(conn.ListChains())(t) {
		if countRules(t, conn, c) == 0 {
			continue
		}
		chain := &nftables.Chain{Table: table, Name: c.Name}
		all = append(all, damage{"chain " + c.Name + " is flushed", func(t *testing.T) {
			t.Helper()
			conn.FlushChain(chain)
			check(t, conn.Flush())
		}}, damage{"chain " + c.Name + " has another rule", func(t *testing.T) {
			t.Helper()
			conn.InsertRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}})
			check(t, conn.Flush())
		}})
	}
	for _, s := range must(conn.GetSets(table))(t) {
		elements := must(conn.GetSetElements(s))(t)
		if len(elements) == 0 || s.HasTimeout {
			continue
		}
		all = append(all, damage{"an element of set " + s.Name + " is deleted", func(t *testing.T) {
			t.Helper()
			if s.Interval {
				conn.FlushSet(s)
			} else {
				check(t, conn.SetDeleteElements(s, elements[:1]))
			}
			check(t, conn.Flush())
		}})
	}
	all = append(all, damage{"the table is deleted", func(t *testing.T) {
		t.Helper()
		conn.DelTable(table)
		check(t, conn.Flush())
	}})
	if os.Getenv(backendVariable) == "ipvs" {
		all = append(all, virtualDamages(t)...)
	}
	return all
}

func virtualDamages(t *testing.T) []damage {
	t.Helper()
	handle := must(ipvs.New(""))(t)
	t.Cleanup(handle.Close)
	return []damage{
		{"all virtual servers are deleted", func(t *testing.T) {
			t.Helper()
			check(t, handle.Flush())
		}},
		{"a real server of each virtual server is deleted", func(t *testing.T) {
			t.Helper()
			for _, s := range must(handle.GetServices())(t) {
				destinations := must(handle.GetDestinations(s))(t)
				check(t, handle.DelDestination(s, destinations[0]))
			}
		}},
		{"virtual servers have another scheduler", func(t *testing.T) {
			t.Helper()
			for _, s := range must(handle.GetServices())(t) {
				s.SchedName = "lc"
				check(t, handle.UpdateService(s))
			}
		}},
		{"the local routes are deleted", func(t *testing.T) {
			t.Helper()
			for _, r := range must(netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE))(t) {
				if strings.HasPrefix(r.Dst.String(), "10.43.") || strings.HasPrefix(r.Dst.String(), "fd00:43:") || strings.HasPrefix(r.Dst.String(), "203.0.113.") {
					check(t, netlink.RouteDel(&r))
				}
			}
		}},
	}
}

// TestForeign: tables, rules and virtual servers of others are as they were, whatever the proxy does; and nothing is bound to a link.
func TestForeign(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		conn := must(nftables.New())(t)
		foreign := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "other"})
		chain := conn.AddChain(&nftables.Chain{Table: foreign, Name: "svc-theirs"})
		pods := conn.AddChain(&nftables.Chain{Table: conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "kedge"}), Name: "pod-theirs"})
		for _, c := range []*nftables.Chain{chain, pods} {
			conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}})
		}
		check(t, conn.Flush())
		if w.name == "ipvs" {
			addVirtual(t)
		}
		theirs := []string{"table 2", "chain other", "chain kedge pod-", "ip_vs TCP C0000201:1E61", "ip_vs FWM 00000077"}
		links, before := takeSnapshot(t).only("link ", "address "), takeSnapshot(t).only(theirs...)
		if w.name == "ipvs" && len(before) != 5 {
			t.Fatalf("the test does not see what it compares: %q", before)
		}
		w.set(t, rich(), ready("a", "d")...)
		steps := []damage{
			{"with a service", func(*testing.T) {}},
			{"after a restart", func(t *testing.T) { t.Helper(); w.restart(t) }},
			{"without a service", func(t *testing.T) { t.Helper(); w.remove(t, "web") }},
			{"after a clean-up", func(t *testing.T) { t.Helper(); check(t, w.clean()) }},
			{"after another sync", func(t *testing.T) { t.Helper(); w.sync(t) }},
		}
		for _, step := range steps {
			step.do(t)
			equal(t, step.name+", of others", before, takeSnapshot(t).only(theirs...))
			equal(t, step.name+", links", links, takeSnapshot(t).only("link ", "address "))
		}
		w.removeForeign(t, conn, foreign)
	})
}

// foreignServers are virtual servers of somebody else: one outside of all that Kubernetes uses, one by firewall mark.
func foreignServers() []*ipvs.Service {
	return []*ipvs.Service{
		{Address: net.ParseIP("192.0.2.1").To4(), Port: 7777, Protocol: unix.IPPROTO_TCP, SchedName: "rr", AddressFamily: unix.AF_INET, Netmask: 0xffffffff},
		{FWMark: 0x77, SchedName: "rr", AddressFamily: unix.AF_INET, Netmask: 0xffffffff},
	}
}

func addVirtual(t *testing.T) {
	t.Helper()
	handle := must(ipvs.New(""))(t)
	defer handle.Close()
	for _, s := range foreignServers() {
		check(t, handle.NewService(s))
		check(t, handle.NewDestination(s, &ipvs.Destination{Address: net.ParseIP("192.0.2.2").To4(), Port: 7777, Weight: 1, AddressFamily: unix.AF_INET}))
	}
}

func (w *world) removeForeign(t *testing.T, conn *nftables.Conn, table *nftables.Table) {
	t.Helper()
	conn.DelTable(table)
	pods := &nftables.Chain{Table: &nftables.Table{Family: nftables.TableFamilyINet, Name: "kedge"}, Name: "pod-theirs"}
	conn.FlushChain(pods)
	conn.DelChain(pods)
	check(t, conn.Flush())
	if w.name != "ipvs" {
		return
	}
	handle := must(ipvs.New(""))(t)
	defer handle.Close()
	for _, s := range foreignServers() {
		check(t, handle.DelService(s))
	}
}
