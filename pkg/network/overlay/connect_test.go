package overlay

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// world is three nodes with a pod each on one switch. Their IPv4 addresses are on one subnet, their IPv6 addresses too.
type world struct {
	nodes []Node
	node  []*space
	pod   []*space
	over  []*running
}

// newWorld makes nodes with addresses and pod CIDRs as given, joins them by the backend and gives each a pod that answers.
func newWorld(t *testing.T, backend Backend, texts ...string) *world {
	t.Helper()
	w := &world{}
	for _, text := range texts {
		w.nodes = append(w.nodes, node(t, text))
		w.node = append(w.node, newSpace(t))
	}
	sw := newSwitch(t, w.node...)
	for i, n := range w.nodes {
		for _, a := range n.Addresses {
			bits := 24
			if a.Is6() {
				bits = 64
			}
			w.node[i].addresses(t, "eth0", fmt.Sprintf("%s/%d", a, bits))
		}
		w.node[i].addresses(t, "eth0", fmt.Sprintf("fe80::%d/64", i+1)) // what neighbour discovery is done from
		sw.up(t, fmt.Sprint("port", i))
		var ips []string
		for _, c := range n.PodCIDRs {
			ips = append(ips, c.Addr().Next().Next().String())
		}
		w.pod = append(w.pod, w.node[i].pod(t, ips...))
		w.pod[i].serveWho(t)
		w.over = append(w.over, w.node[i].run(t, backend, n.Name, w.nodes...))
	}
	return w
}

// podIP is the address of the pod of node i.
func (w *world) podIP(i int, v6 bool) string {
	return w.nodes[i].podCIDR(v6).Addr().Next().Next().String()
}

// reach checks that pods of all nodes reach each other, and nodes the pods, with the sources they should have.
func (w *world) reach(t *testing.T, direct, v6 bool) {
	t.Helper()
	for i := range w.nodes {
		for j := range w.nodes {
			if i == j {
				continue
			}
			if got, want := w.pod[i].ask(t, w.podIP(j, v6)), w.podIP(i, v6); got != want {
				t.Errorf("pod of %s to pod of %s: it sees %s, want %s", w.nodes[i].Name, w.nodes[j].Name, got, want)
			}
			want := w.nodes[i].podCIDR(v6).Addr()
			if direct {
				want = w.nodes[i].address(v6)
			}
			if got := w.node[i].ask(t, w.podIP(j, v6)); got != want.String() {
				t.Errorf("node %s to pod of %s: it sees %s, want %s", w.nodes[i].Name, w.nodes[j].Name, got, want)
			}
		}
	}
}

func TestVXLAN(t *testing.T) {
	w := newWorld(t, VXLAN, "a 192.0.2.1 10.42.0.0/24", "b 192.0.2.2 10.42.1.0/24", "c 192.0.2.3 10.42.2.0/24")
	w.reach(t, false, false)
}

func TestVXLANOverIPv6(t *testing.T) {
	w := newWorld(t, VXLAN, "a 2001:db8::1 fd42::/64", "b 2001:db8::2 fd42:0:0:1::/64")
	w.reach(t, false, true)
}

// TestDualStack: one node has both families, the others one each; the first reaches both, over a link each.
func TestDualStack(t *testing.T) {
	w := newWorld(t, VXLAN, "a 192.0.2.1,2001:db8::1 10.42.0.0/24,fd42::/64", "b 192.0.2.2 10.42.1.0/24,fd42:0:0:1::/64", "c 2001:db8::3 10.42.2.0/24,fd42:0:0:2::/64")
	for _, v6 := range []bool{false, true} {
		for _, peer := range []int{1, 2} {
			for _, way := range [][2]int{{0, peer}, {peer, 0}} {
				if got, want := w.pod[way[0]].ask(t, w.podIP(way[1], v6)), w.podIP(way[0], v6); got != want {
					t.Errorf("pod %d to pod %d: it sees %s, want %s", way[0], way[1], got, want)
				}
			}
		}
	}
}

func TestHostGW(t *testing.T) {
	w := newWorld(t, HostGW, "a 192.0.2.1,2001:db8::1 10.42.0.0/24,fd42::/64", "b 192.0.2.2,2001:db8::2 10.42.1.0/24,fd42:0:0:1::/64")
	w.reach(t, true, false)
	w.reach(t, true, true)
	if s := w.node[0].state(t); len(s.Links) > 0 {
		t.Errorf("there are VXLAN links:\n%s", s)
	}
}

// TestMixed: two nodes share a subnet, a third is behind a router. Packets that are too large for the way through VXLAN are answered with
// the size that fits, and large transfers pass.
func TestMixed(t *testing.T) {
	w := &world{nodes: []Node{node(t, "a 192.0.2.1 10.42.0.0/24"), node(t, "b 192.0.2.2 10.42.1.0/24"), node(t, "c 198.51.100.3 10.42.2.0/24")}}
	for range w.nodes {
		w.node = append(w.node, newSpace(t))
	}
	sw := newSwitch(t, w.node[:2]...)
	plug(t, w.node[2], "eth0", sw, "port2")
	check(t, sw.LinkSetUp(sw.link(t, "port2")))
	for i, s := range w.node {
		check(t, s.LinkSetUp(s.link(t, "eth0")))
		sw.up(t, fmt.Sprint("port", i))
	}
	sw.addresses(t, "br0", "192.0.2.254/24")
	sw.addresses(t, "port2", "198.51.100.254/24")
	for i, n := range w.nodes {
		a := n.Addresses[0]
		w.node[i].addresses(t, "eth0", a.String()+"/24")
		gw := a.AsSlice()
		gw[3] = 254
		check(t, w.node[i].RouteAdd(&netlink.Route{LinkIndex: w.node[i].link(t, "eth0").Attrs().Index, Gw: gw}))
		w.pod = append(w.pod, w.node[i].pod(t, w.podIP(i, false)))
		w.pod[i].serveWho(t)
		w.over = append(w.over, w.node[i].run(t, HostGW, n.Name, w.nodes...))
	}
	for _, c := range []struct {
		from, to int
		node     string // the source of the node's own packets
	}{{0, 1, "192.0.2.1"}, {1, 0, "192.0.2.2"}, {0, 2, "10.42.0.0"}, {2, 0, "10.42.2.0"}, {1, 2, "10.42.1.0"}} {
		if got, want := w.pod[c.from].ask(t, w.podIP(c.to, false)), w.podIP(c.from, false); got != want {
			t.Errorf("pod %d to pod %d: it sees %s, want %s", c.from, c.to, got, want)
		}
		if got := w.node[c.from].ask(t, w.podIP(c.to, false)); got != c.node {
			t.Errorf("node %d to pod %d: it sees %s, want %s", c.from, c.to, got, c.node)
		}
		conn := must(w.pod[c.from].dial(t, w.podIP(c.to, false)))(t)
		check(t, conn.SetDeadline(time.Now().Add(limit)))
		if got, want := bulk(t, conn), w.podIP(c.from, false); got != want {
			t.Errorf("pod %d to pod %d, a megabyte in one line: %q, want %q", c.from, c.to, got, want)
		}
		check(t, conn.Close())
	}
}

// bulk sends a long line and returns the answer.
func bulk(t *testing.T, conn net.Conn) string {
	t.Helper()
	must(conn.Write(append(bytes.Repeat([]byte("x"), longest-1), '\n')))(t)
	return askOn(conn)
}
