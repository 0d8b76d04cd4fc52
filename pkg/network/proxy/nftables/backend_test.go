package nftables

import (
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/nft/wire"
	"kedge/pkg/network/proxy/state"
)

// fresh puts the test into a network namespace of its own, in which lo is up.
func fresh(t testing.TB) *Backend {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	ns := must(netns.New())(t)
	t.Cleanup(func() { _ = ns.Close() })
	h := must(netlink.NewHandle(unix.NETLINK_ROUTE))(t)
	t.Cleanup(h.Close)
	check(t, h.LinkSetUp(must(h.LinkByName("lo"))(t)))
	b := must(open(Options{Log: slog.New(slog.DiscardHandler)}))(t)
	t.Cleanup(func() { check(t, b.Close()) })
	return b
}

func testNode() state.Node {
	return state.Node{
		ClusterCIDRs:      []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42::/56")},
		ServiceCIDRs:      []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16"), netip.MustParsePrefix("fd43::/112")},
		NodePortAddresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Own:               []netip.Addr{netip.MustParseAddr("10.43.0.10")},
	}
}

func serviceKey(name string, v6 bool) state.Key {
	return state.Key{ServicePortName: proxy.ServicePortName{NamespacedName: types.NamespacedName{Namespace: "ns", Name: name}}, V6: v6}
}

// endpointList makes endpoints; those that begin with * are on the node.
func endpointList(list ...string) (all []state.Endpoint) {
	for _, s := range list {
		here := s[0] == '*'
		if here {
			s = s[1:]
		}
		all = append(all, state.Endpoint{AddrPort: netip.MustParseAddrPort(s), Local: here})
	}
	return all
}

func clusterIP(name, address string, endpoints ...string) *state.Service {
	to := netip.MustParseAddrPort(address)
	return &state.Service{
		Key: serviceKey(name, to.Addr().Is6()), Protocol: unix.IPPROTO_TCP, Endpoints: len(endpoints) > 0,
		Cluster: endpointList(endpoints...), Frontends: []state.Frontend{{Address: to.Addr(), Port: to.Port()}},
	}
}

func wishes(services ...*state.Service) map[state.Key]*state.Service {
	all := map[state.Key]*state.Service{}
	for _, s := range services {
		all[s.Key] = s
	}
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must makes a value of a call that may fail: must(f())(t).
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return value
	}
}

// syncs checks how many differences Sync finds.
func syncs(t testing.TB, b *Backend, wish map[state.Key]*state.Service, want int) {
	t.Helper()
	if got := must(b.Sync(testNode(), wish))(t); got != want {
		t.Errorf("Sync found %d differences, want %d", got, want)
	}
}

// TestUpdateIsSync: what updates leave is what a sync wants, also that of a process which knows nothing of the former.
func TestUpdateIsSync(t *testing.T) {
	b := fresh(t)
	must(b.Sync(testNode(), nil))(t)
	a := clusterIP("a", "10.43.0.1:443", "*10.42.0.2:80", "10.42.1.2:80", "10.42.1.3:80")
	less := clusterIP("a", "10.43.0.1:443", "10.42.1.2:80", "10.42.1.9:80")
	none := clusterIP("a", "10.43.0.1:443")
	six := clusterIP("a", "[fd43::1]:443", "[fd42::2]:80", "*[fd42::3]:80")
	steps := []struct {
		changes []state.Change
		want    map[state.Key]*state.Service
	}{
		{[]state.Change{{New: a}, {New: six}}, wishes(a, six)},
		{[]state.Change{{Old: a, New: less}}, wishes(less, six)},
		{[]state.Change{{Old: less, New: a}, {Old: six}}, wishes(a)},
		{[]state.Change{{Old: a, New: none}}, wishes(none)},
		{[]state.Change{{Old: none}}, nil},
	}
	for _, s := range steps {
		check(t, b.Update(s.changes))
		syncs(t, b, s.want, 0)
		b.model = newModel(0, nil)
		syncs(t, b, s.want, 0)
	}
	for range 2 {
		check(t, Clean())
	}
}

// TestOtherVersion: chains and sets of other kinds under our names are replaced; what is not ours stays.
func TestOtherVersion(t *testing.T) {
	b := fresh(t)
	batch := wire.NewBatch(tableName())
	batch.AddTable()
	for _, name := range []string{"svc-services4", "svc-old", "pod-set", "svc-ipvs-set"} {
		batch.AddSet(wire.Set{Name: name, Key: []wire.Type{wire.IPv6()}})
	}
	batch.AddChain(wire.Chain{Name: "svc-prerouting", Type: "filter", Hook: unix.NF_INET_PRE_ROUTING})
	batch.AddChain(wire.Chain{Name: "svc-former"})
	batch.AddChain(wire.Chain{Name: "pod-chain"})
	batch.AddRule("svc-prerouting", goTo("svc-former"))
	batch.AddRule("svc-former", nft.Drop())
	check(t, b.conn.Commit(batch))
	wish := wishes(everyKind()...)
	if n := must(b.Sync(testNode(), wish))(t); n == 0 {
		t.Error("Sync found nothing to do")
	}
	syncs(t, b, wish, 0)
	check(t, Clean())
	var left []string
	for _, s := range must(b.conn.Sets())(t) {
		left = append(left, s.Name)
	}
	for _, c := range must(b.conn.Chains())(t) {
		left = append(left, c.Name)
	}
	if diff := cmp.Diff([]string{"pod-set", "svc-ipvs-set", "pod-chain"}, left); diff != "" {
		t.Errorf("after Clean (-want +got):\n%s", diff)
	}
}
