package netns

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"kedge/tests/netns/space"
)

// The world of a test. The node has pods a, b and c. Its eth0 leads outside, which has two addresses and knows by routes where
// service addresses and external addresses are, but not where pods are. Its eth1 leads to another node, far, with pods d and e, which
// routes the node's pods directly. The node has no default route, but one to far for external addresses, where nobody has them. Every
// name has an address of each family.
const (
	clusterCIDRs = "10.42.0.0/16 fd00:42::/56"
	serviceCIDRs = "10.43.0.0/16 fd00:43::/112"
	publicCIDRs  = "203.0.113.0/24 2001:db8:113::/64" // external and load balancer addresses
	nearCIDRs    = "10.42.1.0/24 fd00:42:0:1::/64"
	farCIDRs     = "10.42.2.0/24 fd00:42:0:2::/64"
)

func places() map[string]string {
	return map[string]string{
		"node": "192.0.2.1 2001:db8::1", "node2": "192.0.2.9 2001:db8::9", "node3": "198.51.100.1 2001:db8:1::1",
		"localhost": "127.0.0.1 ::1",
		"outside":   "192.0.2.2 2001:db8::2", "outside2": "192.0.2.3 2001:db8::3",
		"far": "198.51.100.2 2001:db8:1::2",
		"a":   "10.42.1.2 fd00:42:0:1::2", "b": "10.42.1.3 fd00:42:0:1::3", "c": "10.42.1.4 fd00:42:0:1::4",
		"external": "203.0.113.10 2001:db8:113::10", "lb": "203.0.113.20 2001:db8:113::20",
		"d": "10.42.2.2 fd00:42:0:2::2", "e": "10.42.2.3 fd00:42:0:2::3",
	}
}

type world struct {
	*feed
	t     *testing.T
	log   *slog.Logger
	names map[string][2]netip.Addr
	in    map[string]*space.Space // where a name's clients and servers are

	conversations atomic.Uint32 // of UDP
	ports         atomic.Uint32 // of clients that use few of them
}

func newWorld(t *testing.T, b backend) *world {
	t.Helper()
	w := &world{t: t, log: slog.New(slog.NewTextHandler(t.Output(), nil)), names: map[string][2]netip.Addr{}, in: map[string]*space.Space{}}
	for name, addresses := range places() {
		w.names[name] = pair(addresses)
	}
	node := must(space.Process())(t)
	out, far := must(space.New())(t), must(space.New())(t)
	w.place(node, "node", "node2", "node3", "localhost")
	w.place(out, "outside", "outside2")
	w.place(far, "far", "d", "e")
	for _, key := range []string{"ipv4.ip_forward", "ipv6.conf.all.forwarding"} {
		check(t, node.Set(key, "1"))
		check(t, far.Set(key, "1"))
	}
	check(t, space.Join(
		space.End{Space: node, Name: "eth0", Addresses: w.on("node", "node2")},
		space.End{Space: out, Name: "eth0", Addresses: w.on("outside", "outside2")},
	))
	check(t, space.Join(
		space.End{Space: node, Name: "eth1", Addresses: w.on("node3")}, space.End{Space: far, Name: "eth0", Addresses: w.on("far")},
	))
	for _, name := range []string{"d", "e"} {
		for _, a := range w.names[name] {
			check(t, far.AddAddresses("lo", netip.PrefixFrom(a, a.BitLen())))
		}
	}
	w.route(out, "eth0", "node", serviceCIDRs, publicCIDRs)
	w.route(far, "eth0", "node3", nearCIDRs, "192.0.2.0/24 2001:db8::/64")
	w.route(node, "eth1", "far", farCIDRs)
	w.route(node, "eth1", "far", publicCIDRs)
	for _, name := range []string{"a", "b", "c"} {
		w.place(must(space.NewPod(node, "pod-"+name, w.names[name][0], w.names[name][1]))(t), name)
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.serve("tcp", name, 8080)
		w.serve("udp", name, 8080)
	}
	w.feed = newFeed(w, b)
	return w
}

// place says where names are.
func (w *world) place(s *space.Space, names ...string) {
	for _, name := range names {
		w.in[name] = s
	}
}

// on lists the addresses of names with the length of their links' networks.
func (w *world) on(names ...string) (all []netip.Prefix) {
	for _, name := range names {
		all = append(all, netip.PrefixFrom(w.names[name][0], 24), netip.PrefixFrom(w.names[name][1], 64))
	}
	return all
}

func (w *world) route(from *space.Space, link, gateway string, networks ...string) {
	w.t.Helper()
	for _, network := range networks {
		for i, p := range prefixes(network) {
			check(w.t, from.Route(p, link, w.names[gateway][i]))
		}
	}
}

// serve answers on a port of a name's addresses, under the name.
func (w *world) serve(network, name string, port uint16) (stop func()) {
	w.t.Helper()
	var stops []func()
	for _, a := range w.names[name] {
		stops = append(stops, must(w.in[name].Serve(network, netip.AddrPortFrom(a, port).String(), name))(w.t))
	}
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	w.t.Cleanup(stop)
	return stop
}

func pair(text string) [2]netip.Addr {
	v4, v6, _ := strings.Cut(text, " ")
	return [2]netip.Addr{netip.MustParseAddr(v4), netip.MustParseAddr(v6)}
}

func prefixes(text string) (all []netip.Prefix) {
	for p := range strings.FieldsSeq(text) {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must makes a value of a call that may fail: must(f())(t).
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return value
	}
}
