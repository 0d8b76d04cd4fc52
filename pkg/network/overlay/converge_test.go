package overlay

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// lone is a node on a subnet of its own, with peers that do not exist.
func lone(t *testing.T, backend Backend, nodes ...Node) (*space, *running) {
	t.Helper()
	s, other := newSpace(t), newSpace(t)
	plug(t, s, "eth0", other, "eth0")
	check(t, other.LinkSetUp(other.link(t, "eth0")))
	s.addresses(t, "eth0", "192.0.2.1/24", "192.0.2.11/24")
	return s, s.run(t, backend, "a", nodes...)
}

// becomes waits until the kernel holds what is planned for the nodes.
func (s *space) becomes(t *testing.T, backend Backend, nodes ...Node) {
	t.Helper()
	under := []Underlay{{Address: nodes[0].Addresses[0], Subnet: netip.PrefixFrom(nodes[0].Addresses[0], 24).Masked(), Link: "eth0", MTU: s.link(t, "eth0").Attrs().MTU, Virtual: true}}
	want, _, _ := Plan(Input{Backend: backend, Self: "a", Underlay: under, Nodes: nodes})
	clear(want.Peers)
	eventually(t, "state", func() error {
		if diff := cmp.Diff(want.String(), s.state(t).String()); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

func trio(t testing.TB) []Node {
	t.Helper()
	return []Node{node(t, "a 192.0.2.1 10.42.0.0/24"), node(t, "b 192.0.2.2 10.42.1.0/24"), node(t, "c 192.0.2.3 10.42.2.0/24")}
}

// TestChanges: the kernel follows the nodes.
func TestChanges(t *testing.T) {
	nodes := trio(t)
	for _, backend := range []Backend{VXLAN, HostGW} {
		t.Run(string(backend), func(t *testing.T) {
			s, o := lone(t, backend, nodes...)
			s.becomes(t, backend, nodes...)
			for _, change := range []struct{ what, to string }{
				{"another node address", "b 192.0.2.4 10.42.1.0/24"},
				{"another pod CIDR", "b 192.0.2.4 10.42.7.0/24"},
				{"to another subnet", "b 198.51.100.4 10.42.7.0/24"},
				{"and back", "b 192.0.2.2 10.42.1.0/24"},
			} {
				changed := node(t, change.to)
				o.SetNode(changed)
				s.becomes(t, backend, nodes[0], changed, nodes[2])
			}
			o.SetNode(node(t, "d 192.0.2.9 10.42.9.0/24"))
			s.becomes(t, backend, append(nodes, node(t, "d 192.0.2.9 10.42.9.0/24"))...)
			o.RemoveNode("d")
			o.RemoveNode("c")
			s.becomes(t, backend, nodes[:2]...)
			o.RemoveNode("b")
			s.becomes(t, backend, nodes[0])
		})
	}
}

// TestRepair: what others change is mended.
func TestRepair(t *testing.T) {
	nodes := trio(t)
	s, _ := lone(t, VXLAN, nodes...)
	vxlan := func() netlink.Link { return s.link(t, linkV4) }
	for _, damage := range []struct {
		name string
		do   func() error
	}{
		{"link deleted", func() error { return s.LinkDel(vxlan()) }},
		{"link down", func() error { return s.LinkSetDown(vxlan()) }},
		{"link renamed", func() error {
			return cmpErr(s.LinkSetDown(vxlan()), s.LinkSetName(vxlan(), "mine"))
		}},
		{"MTU", func() error { return s.LinkSetMTU(vxlan(), 1400) }},
		{"hardware address", func() error { return s.LinkSetHardwareAddr(vxlan(), []byte{2, 0, 0, 0, 0, 1}) }},
		{"another kind of link", func() error {
			return cmpErr(s.LinkDel(vxlan()), s.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: linkV4}}))
		}},
		{"MTU of the link below", func() error { return s.LinkSetMTU(s.link(t, "eth0"), 1300) }},
		{"checksum offload", func() error {
			var err error
			s.do(t, func() {
				k := must(openKernel())(t)
				err = cmpErr(k.setOffload(linkV4, false), k.close(), s.LinkSetMTU(vxlan(), 1400))
			})
			return err
		}},
		{"address", func() error {
			return s.AddrDel(vxlan(), vtepAddress(netip.MustParseAddr("10.42.0.0")))
		}},
		{"further address", func() error {
			return s.AddrAdd(vxlan(), vtepAddress(netip.MustParseAddr("10.42.0.1")))
		}},
		{"route deleted", func() error { return s.RouteDel(&netlink.Route{Dst: ipNet(nodes[1].PodCIDRs[0])}) }},
		{"route replaced", func() error {
			return s.RouteReplace(&netlink.Route{Dst: ipNet(nodes[1].PodCIDRs[0]), Gw: netip.MustParseAddr("192.0.2.9").AsSlice()})
		}},
		{"unreachable route deleted", func() error {
			return s.RouteDel(&netlink.Route{Dst: ipNet(nodes[0].PodCIDRs[0]), Type: unix.RTN_UNREACHABLE})
		}},
		{"neighbour deleted", func() error {
			return s.NeighDel(&netlink.Neigh{LinkIndex: vxlan().Attrs().Index, IP: netip.MustParseAddr("10.42.1.0").AsSlice()})
		}},
		{"neighbour changed", func() error {
			return s.NeighSet(&netlink.Neigh{
				LinkIndex: vxlan().Attrs().Index, IP: netip.MustParseAddr("10.42.1.0").AsSlice(),
				State: netlink.NUD_PERMANENT, HardwareAddr: []byte{2, 0, 0, 0, 0, 1},
			})
		}},
		{"FDB entry deleted", func() error {
			m := macOf("b")
			return s.NeighDel(&netlink.Neigh{
				LinkIndex: vxlan().Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
				HardwareAddr: m[:], IP: netip.MustParseAddr("192.0.2.2").AsSlice(),
			})
		}},
		{"FDB entry added", func() error {
			return s.NeighSet(&netlink.Neigh{
				LinkIndex: vxlan().Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT,
				HardwareAddr: []byte{2, 0, 0, 0, 0, 1}, IP: netip.MustParseAddr("192.0.2.9").AsSlice(),
			})
		}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			s.becomes(t, VXLAN, nodes...)
			check(t, damage.do())
			s.becomes(t, VXLAN, nodes...)
		})
	}
}

// TestRepairDirect: direct routes come back with the link and the address that they need.
func TestRepairDirect(t *testing.T) {
	nodes := trio(t)
	s, _ := lone(t, HostGW, nodes...)
	own := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.2.1/24"))}
	for name, do := range map[string]func(){
		"link down and up": func() {
			check(t, s.LinkSetDown(s.link(t, "eth0")))
			check(t, s.LinkSetUp(s.link(t, "eth0")))
		},
		"address away and back": func() {
			check(t, s.AddrDel(s.link(t, "eth0"), own))
			check(t, s.AddrAdd(s.link(t, "eth0"), own))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.becomes(t, HostGW, nodes...)
			do()
			s.becomes(t, HostGW, nodes...)
		})
	}
}

func cmpErr(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestRestart: the next process changes nothing of what it finds as it should be, and connections stay.
func TestRestart(t *testing.T) {
	w := newWorld(t, VXLAN, "a 192.0.2.1,2001:db8::1 10.42.0.0/24,fd42::/64", "b 192.0.2.2,2001:db8::2 10.42.1.0/24,fd42:0:0:1::/64")
	conn := must(w.pod[0].dial(t, w.podIP(1, false)))(t)
	defer func() { _ = conn.Close() }()
	if got := askOn(conn); got != "10.42.0.2" {
		t.Fatalf("answer %q", got)
	}
	w.over[0].stop()
	var events *notifications
	w.node[0].do(t, func() { events = must(openNotifications())(t) })
	again := w.node[0].run(t, VXLAN, "a", w.nodes...)
	again.stop()
	told := make([]byte, 1<<16)
	check(t, events.raw.Control(func(fd uintptr) {
		if n, err := syscall.Read(int(fd), told); err != syscall.EAGAIN {
			t.Errorf("the kernel tells of a change: %x (%v)", told[:max(n, 0)], err)
		}
	}))
	check(t, events.file.Close())
	if got := askOn(conn); got != "10.42.0.2" {
		t.Errorf("answer after a restart: %q", got)
	}
}

// TestAdopt: a changed node, which the former process did not know of, and leftovers of a crash are put right; what belongs to others stays.
func TestAdopt(t *testing.T) {
	nodes := trio(t)
	s, o := lone(t, VXLAN, nodes...)
	o.stop()
	foreign := &netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.42.8.0/24")), Gw: netip.MustParseAddr("192.0.2.9").AsSlice()}
	check(t, s.RouteAdd(foreign))
	nodes[1] = node(t, "b 192.0.2.4 10.42.1.0/24")
	nodes = nodes[:2]
	o = s.run(t, VXLAN, "a", nodes...)
	s.becomes(t, VXLAN, nodes...)
	o.stop()
	nodes[0].Addresses[0] = netip.MustParseAddr("192.0.2.11") // this node's own address changed: the link is made anew
	o = s.run(t, VXLAN, "a", nodes...)
	s.becomes(t, VXLAN, nodes...)
	o.stop()
	o = s.run(t, HostGW, "a", nodes...)
	s.becomes(t, HostGW, nodes...)
	o.stop()
	o = s.run(t, VXLAN, "a", nodes...)
	s.becomes(t, VXLAN, nodes...)
	o.stop()
	o = s.run(t, None, "a", nodes...)
	s.becomes(t, None, nodes...)
	o.stop()
	o = s.run(t, VXLAN, "a", nodes...)
	s.becomes(t, VXLAN, nodes...)
	o.stop()
	s.do(t, func() {
		for range 2 {
			check(t, Cleanup())
		}
	})
	s.becomes(t, None, nodes...)
	if routes := must(s.RouteListFiltered(netlink.FAMILY_V4, foreign, netlink.RT_FILTER_DST))(t); len(routes) != 1 {
		t.Errorf("routes of others: %v", routes)
	}
}

// TestFirewall: VXLAN packets of a host that is no peer are dropped, and pods can send none to nodes.
func TestFirewall(t *testing.T) {
	w := newWorld(t, VXLAN, "a 192.0.2.1 10.42.0.0/24", "b 192.0.2.2 10.42.1.0/24")
	w.reach(t, false, false)
	w.over[1].RemoveNode("a")
	w.over[1].SetNode(node(t, "c 192.0.2.9 10.42.0.0/24")) // b expects a's pods elsewhere
	eventually(t, "a is no peer of b", func() error {
		if diff := cmp.Diff([]string{"192.0.2.9"}, w.node[1].peers(t)); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	received := func() uint64 { return w.node[1].link(t, linkV4).Attrs().Statistics.RxPackets }
	before := received()
	if conn, err := w.pod[0].dial(t, w.podIP(1, false)); err == nil {
		_ = conn.Close()
		t.Error("a connection from a host that is no peer succeeded")
	}
	if n := received() - before; n != 0 {
		t.Errorf("%d packets of a host that is no peer were taken", n)
	}
	// A pod that speaks VXLAN itself: to its own node, and to the other one, which would see its node's address.
	for _, to := range []string{"192.0.2.1:8472", "192.0.2.2:8472"} {
		before := w.node[0].link(t, linkV4).Attrs().Statistics.RxPackets + received()
		w.pod[0].do(t, func() { vxlanPacket(t, to) })
		if n := w.node[0].link(t, linkV4).Attrs().Statistics.RxPackets + received() - before; n != 0 {
			t.Errorf("a pod's VXLAN packet to %s was taken", to)
		}
	}
}

// peers are the IPv4 addresses that the firewall lets in.
func (s *space) peers(t testing.TB) (found []string) {
	t.Helper()
	s.do(t, func() {
		conn := must(nftables.New())(t)
		for _, e := range must(conn.GetSetElements(nft.AddressSet{Name: setPeersV4}.Set()))(t) {
			found = append(found, address(e.Key).String())
		}
	})
	return found
}

// vxlanPacket sends an Ethernet frame in a VXLAN header (RFC 7348 section 5), VNI 1.
func vxlanPacket(t testing.TB, to string) {
	t.Helper()
	conn := must(net.Dial("udp", to))(t)
	defer func() { _ = conn.Close() }()
	header := []byte{0x08, 0, 0, 0, 0, 0, vni, 0}
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0}, make([]byte, 46)...)
	must(conn.Write(append(header, frame...)))(t)
}
