package overlay

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// node is "name addresses pod CIDRs", lists with commas.
func node(t testing.TB, text string) Node {
	t.Helper()
	fields := strings.Fields(text)
	n := Node{Name: fields[0]}
	for a := range strings.SplitSeq(fields[1], ",") {
		if a != "-" {
			n.Addresses = append(n.Addresses, netip.MustParseAddr(a))
		}
	}
	for p := range strings.SplitSeq(fields[2], ",") {
		if p != "-" {
			n.PodCIDRs = append(n.PodCIDRs, netip.MustParsePrefix(p))
		}
	}
	return n
}

func underlay(subnets ...string) []Underlay {
	var all []Underlay
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		all = append(all, Underlay{Address: p.Addr(), Subnet: p.Masked(), Link: "eth0", MTU: 1500})
	}
	return all
}

// TestPlan compares what is planned for a node with golden files.
func TestPlan(t *testing.T) {
	update := flag.Lookup("update").Value.String() == "true"
	for name, c := range map[string]struct {
		backend  Backend
		underlay []Underlay
		noIPv6   bool
		nodes    []string // the first is this node
	}{
		"alone": {VXLAN, underlay("192.0.2.1/24"), false, []string{"a 192.0.2.1 10.42.0.0/24"}},
		"v4": {VXLAN, underlay("192.0.2.1/24"), false, []string{
			"a 192.0.2.1 10.42.0.0/24", "b 192.0.2.2 10.42.1.0/24", "c 198.51.100.3 10.42.2.0/24",
			"new 192.0.2.9 -", "silent - 10.42.9.0/24",
		}},
		"v6": {VXLAN, underlay("2001:db8::1/64"), false, []string{
			"a 2001:db8::1 fd42:0:0:0::/64", "b 2001:db8::2 fd42:0:0:1::/64",
		}},
		"dual": {VXLAN, underlay("192.0.2.1/24", "2001:db8::1/64"), false, []string{
			"a 192.0.2.1,2001:db8::1 10.42.0.0/24,fd42::/64",
			"both 192.0.2.2,2001:db8::2 10.42.1.0/24,fd42:0:0:1::/64",
			"only4 192.0.2.3 10.42.2.0/24,fd42:0:0:2::/64",
			"only6 2001:db8::4 10.42.3.0/24,fd42:0:0:3::/64",
		}},
		"no IPv6 in the kernel": {VXLAN, underlay("192.0.2.1/24"), true, []string{
			"a 192.0.2.1,2001:db8::1 10.42.0.0/24,fd42::/64", "b 192.0.2.2,2001:db8::2 10.42.1.0/24,fd42:0:0:1::/64",
		}},
		"host-gw": {HostGW, underlay("192.0.2.1/24"), false, []string{
			"a 192.0.2.1 10.42.0.0/24", "b 192.0.2.2 10.42.1.0/24", "c 192.0.2.3 10.42.2.0/24",
		}},
		"mixed": {HostGW, underlay("192.0.2.1/24", "2001:db8::1/64"), false, []string{
			"a 192.0.2.1,2001:db8::1 10.42.0.0/24,fd42::/64",
			"near 192.0.2.2,2001:db8::2 10.42.1.0/24,fd42:0:0:1::/64",
			"near4 192.0.2.3,2001:db8:1::3 10.42.2.0/24,fd42:0:0:2::/64",
			"far 198.51.100.4,2001:db8:1::4 10.42.3.0/24,fd42:0:0:3::/64",
		}},
		"none":            {None, underlay("192.0.2.1/24"), false, []string{"a 192.0.2.1 10.42.0.0/24", "b 192.0.2.2 10.42.1.0/24"}},
		"address is away": {VXLAN, nil, false, []string{"a 192.0.2.1 10.42.0.0/24", "b 192.0.2.2 10.42.1.0/24"}},
		"conflicts": {VXLAN, underlay("192.0.2.1/24"), false, []string{
			"m 192.0.2.1 10.42.0.0/24", "a 192.0.2.2 10.42.0.128/25", "b 192.0.2.3 10.42.2.0/23", "c 192.0.2.4 10.42.3.0/24",
			"d 192.0.2.5 10.42.4.0/24", "e 192.0.2.6 10.42.4.0/24", "former 192.0.2.1 10.42.5.0/24", "other 192.0.2.7 fd42::/64",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{Backend: c.backend, Self: strings.Fields(c.nodes[0])[0], Underlay: c.underlay, NoIPv6: c.noIPv6}
			for _, text := range c.nodes {
				in.Nodes = append(in.Nodes, node(t, text))
			}
			want, problems, ok := Plan(in)
			if !ok {
				t.Fatal("not ok")
			}
			got := want.String() + lines(index(problems), func(p string, _ int) string { return "problem: " + p })
			file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".golden")
			if update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(golden), got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			slices.Reverse(in.Nodes)
			if again, _, _ := Plan(in); again.String() != want.String() {
				t.Errorf("the plan depends on the order of the nodes:\n%s", cmp.Diff(want.String(), again.String()))
			}
		})
	}
}

func index(all []string) map[string]int {
	m := map[string]int{}
	for i, s := range all {
		m[s] = i
	}
	return m
}

// TestPlanWaits: nothing is planned for a node that is not known or has no pod CIDR.
func TestPlanWaits(t *testing.T) {
	peer := node(t, "b 192.0.2.2 10.42.1.0/24")
	for name, nodes := range map[string][]Node{"unknown": {peer}, "no pod CIDR": {node(t, "a 192.0.2.1 -"), peer}} {
		if _, _, ok := Plan(Input{Backend: VXLAN, Self: "a", Underlay: underlay("192.0.2.1/24"), Nodes: nodes}); ok {
			t.Errorf("%s: ok", name)
		}
	}
}

func TestOverhead(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		backend Backend
		ips     []netip.Addr
		want    int
	}{{VXLAN, []netip.Addr{v4}, 50}, {VXLAN, []netip.Addr{v6, v4}, 50}, {VXLAN, []netip.Addr{v6}, 70}, {HostGW, []netip.Addr{v4}, 0}, {None, []netip.Addr{v4}, 0}} {
		if got := Overhead(c.backend, c.ips); got != c.want {
			t.Errorf("%s %v: %d, want %d", c.backend, c.ips, got, c.want)
		}
	}
}

func TestFromNode(t *testing.T) {
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Spec:       corev1.NodeSpec{PodCIDR: "10.42.1.0/24", PodCIDRs: []string{"10.42.1.0/24", "fd42:0:0:1::/64"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeExternalIP, Address: "203.0.113.1"},
			{Type: corev1.NodeInternalIP, Address: "wrong"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.1"},
			{Type: corev1.NodeInternalIP, Address: "192.0.2.2"}, {Type: corev1.NodeInternalIP, Address: "2001:db8::1"},
		}},
	}
	got, err := FromNode(object)
	if want := node(t, "a 192.0.2.1,2001:db8::1 10.42.1.0/24,fd42:0:0:1::/64"); err != nil || !got.equal(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	object.Spec.PodCIDRs = []string{"10.42.1.0"}
	if _, err := FromNode(object); err == nil || !strings.HasPrefix(err.Error(), "parse pod CIDR of node a: ") {
		t.Errorf("error %v", err)
	}
}
