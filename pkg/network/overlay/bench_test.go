package overlay

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// many are nodes of both families; the first is this one.
func many(count int) []Node {
	var nodes []Node
	for i := range count {
		high, low := byte(i>>8), byte(i)
		nodes = append(nodes, Node{
			Name:      fmt.Sprintf("node-%04d", i),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 18 + high>>7, high, low})},
			PodCIDRs: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 32 + high, low, 0}), 24),
				netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x42, 6: high, 7: low}), 64),
			},
		})
	}
	nodes[0].Addresses[0] = netip.MustParseAddr("192.0.2.1")
	return nodes
}

// benched is an overlay whose loop the benchmark itself goes through.
func benched(b *testing.B, nodes []Node) *Overlay {
	b.Helper()
	s := newSpace(b)
	plug(b, s, "eth0", newSpace(b), "eth0")
	check(b, s.AddrAdd(s.link(b, "eth0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.2.1/24"))}))
	var o *Overlay
	s.do(b, func() {
		o = must(New(Config{Backend: VXLAN, NodeName: nodes[0].Name, NodeIPs: nodes[0].Addresses}, slog.New(slog.DiscardHandler)))(b)
	})
	for _, n := range nodes {
		o.SetNode(n)
	}
	o.Complete()
	return o
}

// BenchmarkPeers programs a thousand dual-stack peers from nothing, and finds at a restart that all is well.
func BenchmarkPeers(b *testing.B) {
	nodes := many(1001)
	o := benched(b, nodes)
	b.Run("from nothing", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			_, err := o.kernel.apply(newState(0), must(o.kernel.read())(b))
			check(b, err)
			check(b, o.fw.withdraw())
			o.known = false
			b.StartTimer()
			must(o.converge())(b)
		}
	})
	b.Run("restart", func(b *testing.B) {
		for b.Loop() {
			o.known = false
			must(o.converge())(b)
		}
	})
	b.Run("one change", func(b *testing.B) {
		changed := nodes[500]
		must(o.converge())(b)
		for i := 0; b.Loop(); i++ {
			changed.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})}
			o.SetNode(changed)
			must(o.converge())(b)
		}
	})
	b.Run("join and leave", func(b *testing.B) {
		extra := many(1002)[1001]
		for b.Loop() {
			o.SetNode(extra)
			must(o.converge())(b)
			o.RemoveNode(extra.Name)
			must(o.converge())(b)
		}
	})
}
