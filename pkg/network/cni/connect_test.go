package cni

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"kedge/pkg/network/nft"
)

// TestConnect asks, from everywhere to everywhere, who the server takes the client for.
func TestConnect(t *testing.T) {
	if !inNode(t) {
		return
	}
	out := newOutside(t)
	out.serveWho(t, ":9000")
	var host *space
	host.serveWho(t, ":6443")
	cfg := testConfig(t)
	cfg.ServiceVIPs = append(cfg.ServiceVIPs, ServiceVIP{
		Address: netip.MustParseAddrPort("10.43.0.2:443"), Target: netip.MustParseAddrPort(outsideIP4 + ":9000"), // as on an agent
	})
	n := startDual(t, cfg)
	host.serveWho(t, "10.43.0.10:53")
	host.serveWho(t, "[fd00:43::a]:53")
	a := n.addPod(t, "a", ports("tcp 30080 8080", "udp 30080 8080", "tcp 53 8080"))
	b := n.addPod(t, "b", ports("tcp 31080 8080 "+otherIP4, "udp 31080 8080 "+otherIP4, "tcp 32080 8080 127.0.0.1", "tcp 33080 8080 0.0.0.0", "tcp 34080 8080 ::"))

	tests := []struct {
		name            string
		from            *space
		network, target string
		want            string // what the server sees; "" is no answer
	}{
		{"pod to pod", a.space, "tcp", net.JoinHostPort(b.ip4, "8080"), a.ip4},
		{"pod to pod UDP", a.space, "udp", net.JoinHostPort(b.ip4, "8080"), a.ip4},
		{"pod to pod IPv6", a.space, "tcp", net.JoinHostPort(b.ip6, "8080"), a.ip6},
		{"pod to itself", a.space, "tcp", net.JoinHostPort(a.ip4, "8080"), a.ip4},
		{"pod to host", a.space, "tcp", nodeIP4 + ":6443", a.ip4},
		{"pod to host IPv6", a.space, "tcp", "[" + nodeIP6 + "]:6443", a.ip6},
		{"host to pod", host, "tcp", net.JoinHostPort(a.ip4, "8080"), nodeIP4},
		{"host to pod IPv6", host, "tcp", net.JoinHostPort(a.ip6, "8080"), nodeIP6},
		{"pod to outside", a.space, "tcp", outsideIP4 + ":9000", nodeIP4},
		{"pod to outside UDP", a.space, "udp", outsideIP4 + ":9000", nodeIP4},
		{"pod to outside IPv6", a.space, "tcp", "[" + outsideIP6 + "]:9000", nodeIP6},

		{"outside to host port", out, "tcp", nodeIP4 + ":30080", outsideIP4},
		{"outside to host port UDP", out, "udp", nodeIP4 + ":30080", outsideIP4},
		{"outside to host port IPv6", out, "tcp", "[" + nodeIP6 + "]:30080", outsideIP6},
		{"outside to host port UDP IPv6", out, "udp", "[" + nodeIP6 + "]:30080", outsideIP6},
		{"outside to host port on second address", out, "tcp", otherIP4 + ":30080", outsideIP4},
		{"outside to another port", out, "tcp", nodeIP4 + ":30081", ""},
		{"pod to host port of another", b.space, "tcp", nodeIP4 + ":30080", b.ip4},
		{"pod to host port of another IPv6", b.space, "tcp", "[" + nodeIP6 + "]:30080", b.ip6},
		{"hairpin", a.space, "tcp", nodeIP4 + ":30080", nodeIP4},
		{"hairpin UDP", a.space, "udp", nodeIP4 + ":30080", nodeIP4},
		{"hairpin IPv6", a.space, "tcp", "[" + nodeIP6 + "]:30080", nodeIP6},
		{"host to host port", host, "tcp", nodeIP4 + ":30080", nodeIP4},
		{"host to host port UDP", host, "udp", nodeIP4 + ":30080", nodeIP4},
		{"host to host port IPv6", host, "tcp", "[" + nodeIP6 + "]:30080", nodeIP6},
		{"host to host port on 127.0.0.1", host, "tcp", "127.0.0.1:30080", nodeIP4},
		{"host to host port on 127.0.0.1 UDP", host, "udp", "127.0.0.1:30080", nodeIP4},

		{"hostIP from outside", out, "tcp", otherIP4 + ":31080", outsideIP4},
		{"hostIP from outside UDP", out, "udp", otherIP4 + ":31080", outsideIP4},
		{"hostIP, other address", out, "tcp", nodeIP4 + ":31080", ""},
		{"hostIP, other address UDP", out, "udp", nodeIP4 + ":31080", ""},
		{"hostIP from host", host, "tcp", otherIP4 + ":31080", nodeIP4},
		{"hostIP from host, other address", host, "tcp", "127.0.0.1:31080", ""},
		{"hostIP 127.0.0.1 from host", host, "tcp", "127.0.0.1:32080", nodeIP4},
		{"hostIP 127.0.0.1 from outside", out, "tcp", nodeIP4 + ":32080", ""},
		{"hostIP 0.0.0.0", out, "tcp", nodeIP4 + ":33080", outsideIP4},
		{"hostIP 0.0.0.0 IPv6", out, "tcp", "[" + nodeIP6 + "]:33080", ""},
		{"hostIP ::", out, "tcp", "[" + nodeIP6 + "]:34080", outsideIP6},
		{"hostIP :: IPv4", out, "tcp", nodeIP4 + ":34080", ""},

		{"service address from pod", a.space, "tcp", "10.43.0.1:443", a.ip4},
		{"service address from host", host, "tcp", "10.43.0.1:443", "10.43.0.1"},
		{"service address on another node from pod", a.space, "tcp", "10.43.0.2:443", nodeIP4},
		{"service address on another node from host", host, "tcp", "10.43.0.2:443", nodeIP4},
		{"service address, other port", a.space, "tcp", "10.43.0.1:444", ""},
		{"own address from pod", a.space, "udp", "10.43.0.10:53", a.ip4},
		{"own address is no host port", b.space, "tcp", "10.43.0.10:53", b.ip4},
		{"host port beside own address", out, "tcp", nodeIP4 + ":53", outsideIP4},
		{"own address IPv6", a.space, "tcp", "[fd00:43::a]:53", a.ip6},
	}
	for _, filter := range []string{"0", "1"} { // with strict reverse path filtering too
		check(t, ensureSysctl(linkSysctl4+"all/rp_filter", filter))
		for _, tt := range tests {
			t.Run(tt.name+", rp_filter "+filter, func(t *testing.T) {
				if got := tt.from.ask(t, tt.network, tt.target); got != tt.want {
					t.Errorf("%s %s: the server sees %q, want %q", tt.network, tt.target, got, tt.want)
				}
			})
		}
	}
}

// TestLoopbackGuard: a pod that may do everything in its namespace does not reach what listens on the host's loopback,
// though the host's side of its link routes such addresses for the sake of its host port.
func TestLoopbackGuard(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	n := startDual(t, testConfig(t))
	(*space)(nil).serveWho(t, "127.0.0.1:10248")
	a := n.addPod(t, "a", ports("tcp 30080 8080"))
	h := a.handle(t)
	a.do(t, func() { check(t, ensureSysctl(linkSysctl4+"all"+routeLocalnet, "1")) })
	lo, eth0 := must(h.LinkByName("lo"))(t), must(h.LinkByName("eth0"))(t)
	check(t, h.AddrDel(lo, must(netlink.ParseAddr("127.0.0.1/8"))(t)))
	check(t, h.RouteAdd(&netlink.Route{
		LinkIndex: eth0.Attrs().Index, Dst: ipNet(loopbackNet()), Gw: gateway(false).AsSlice(), Flags: int(netlink.FLAG_ONLINK),
		Src: net.ParseIP(a.ip4),
	}))
	expect(t, a.ask(t, "tcp", "127.0.0.1:10248"), "")

	conn := must(nftables.New())(t)
	conn.FlushChain(&nftables.Chain{Table: nft.Table(), Name: chainGuard})
	check(t, conn.Flush())
	expect(t, a.ask(t, "tcp", "127.0.0.1:10248"), a.ip4) // it is the guard that keeps it out
}
