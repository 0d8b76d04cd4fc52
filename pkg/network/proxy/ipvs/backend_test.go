package ipvs

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/ipvs/vs"
	"kedge/pkg/network/proxy/state"
)

// kernelTest opens a backend in a fresh network namespace.
func kernelTest(t *testing.T) *Backend {
	t.Helper()
	inNamespace(t)
	if conn, err := vs.Dial(); err != nil {
		t.Skip("the kernel has no IPVS; tests/vm runs this test on one that has:", err)
	} else if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t)
}

func open(t *testing.T) *Backend {
	t.Helper()
	b, err := New(Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func service(name, address string, endpoints ...string) *state.Service {
	s := &state.Service{
		Key:      state.Key{ServicePortName: proxy.ServicePortName{NamespacedName: types.NamespacedName{Namespace: "default", Name: name}, Port: "http"}},
		Protocol: unix.IPPROTO_TCP, Endpoints: len(endpoints) > 0,
		Frontends: []state.Frontend{{Address: netip.MustParseAddr(address), Port: 80}},
	}
	for _, e := range endpoints {
		s.Cluster = append(s.Cluster, state.Endpoint{AddrPort: netip.MustParseAddrPort(e)})
	}
	return s
}

func all(services ...*state.Service) map[state.Key]*state.Service {
	m := map[state.Key]*state.Service{}
	for _, s := range services {
		m[s.Key] = s
	}
	return m
}

// servers is what the kernel has, as text.
func (b *Backend) servers(t *testing.T) []string {
	t.Helper()
	list, err := b.conn.Servers()
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, s := range list {
		line := s.String() + " " + s.Scheduler
		if !s.Ours() {
			line += " foreign"
		}
		dests, err := b.conn.Dests(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		var to []string
		for _, d := range dests {
			to = append(to, fmt.Sprintf(" %s*%d", d.AddrPort, d.Weight))
		}
		slices.Sort(to)
		text = append(text, line+strings.Join(to, ""))
	}
	slices.Sort(text)
	return text
}

func (b *Backend) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, b.servers(t)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func (b *Backend) sync(t *testing.T, services ...*state.Service) int {
	t.Helper()
	n, err := b.Sync(testNode(), all(services...))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOwnership: virtual servers of others stay as they are, and what cannot be had because of them does not keep the rest away; those
// of a former process are known again and go when nobody wants them.
func TestOwnership(t *testing.T) {
	b := kernelTest(t)
	at := func(s string) vs.ID { return vs.ID{Protocol: unix.IPPROTO_TCP, AddrPort: netip.MustParseAddrPort(s)} }
	foreign := []vs.Request{}
	for _, id := range []vs.ID{at("10.43.0.77:80"), at("10.43.0.2:80"), at("198.51.100.1:80"), at("203.0.113.1:80"), {Mark: 5}} {
		foreign = append(foreign, vs.Add(vs.Server{ID: id, Scheduler: "wrr"}), vs.AddDest(id, vs.Dest{AddrPort: netip.MustParseAddrPort("10.9.9.9:1"), Weight: 7}))
	}
	if failed := b.conn.Do(foreign); len(failed) > 0 {
		t.Fatal(failed)
	}
	blocked := service("blocked", "203.0.113.1", "10.42.0.3:8080")
	blocked.Frontends[0].Kind = state.ExternalIP
	one, two := service("one", "10.43.0.1", "10.42.0.1:8080"), service("two", "10.43.0.2", "10.42.0.2:8080")
	_, err := b.Sync(testNode(), all(one, two, blocked))
	if err == nil || !strings.Contains(err.Error(), "virtual server tcp 203.0.113.1:80 belongs to another program") {
		t.Errorf("got %v", err)
	}
	others := []string{
		"ipv4 mark 0x5 wrr foreign 10.9.9.9:1*7",
		"tcp 10.43.0.77:80 wrr foreign 10.9.9.9:1*7", "tcp 198.51.100.1:80 wrr foreign 10.9.9.9:1*7", "tcp 203.0.113.1:80 wrr foreign 10.9.9.9:1*7",
	}
	with := func(own ...string) []string { return slices.Sorted(slices.Values(append(own, others...))) }
	b.expect(t, "after the first sync", with("tcp 10.43.0.1:80 rr 10.42.0.1:8080*1", "tcp 10.43.0.2:80 rr 10.42.0.2:8080*1")...)
	b = open(t) // as after a crash
	if n := b.sync(t, one, two); n != 6 {
		t.Errorf("%d differences after a crash: want 6, three elements, a route and two rules of what is not wanted any more", n)
	}
	if n := b.sync(t, one); n != 2 {
		t.Errorf("%d differences: want 2, the virtual server and its element", n)
	}
	b.expect(t, "with a service less", with("tcp 10.43.0.1:80 rr 10.42.0.1:8080*1")...)
	for range 2 {
		if err := Clean(); err != nil {
			t.Fatal(err)
		}
	}
	b.expect(t, "after the clean-up", with()...)
}

// TestDelete: a deleted service leaves nothing, also when its virtual server has gone already.
func TestDelete(t *testing.T) {
	b := kernelTest(t)
	one, two := service("one", "10.43.0.1", "10.42.0.1:8080"), service("two", "10.43.0.2", "10.42.0.2:8080")
	b.sync(t, one, two)
	if failed := b.conn.Do([]vs.Request{vs.Delete(vs.ID{Protocol: unix.IPPROTO_TCP, AddrPort: netip.MustParseAddrPort("10.43.0.1:80")})}); len(failed) > 0 {
		t.Fatal(failed)
	}
	if err := b.Update([]state.Change{{Old: one}, {Old: two}}); err != nil {
		t.Error(err)
	}
	b.expect(t, "after deletion")
	if n := b.sync(t); n != 0 {
		t.Errorf("sync found %d differences", n)
	}
}

// TestSchedulers: a service may ask for one; one that the kernel does not have does no harm.
func TestSchedulers(t *testing.T) {
	b := kernelTest(t)
	one, two, three := service("one", "10.43.0.1"), service("two", "10.43.0.2"), service("three", "10.43.0.3")
	one.Scheduler, two.Scheduler, three.Scheduler = "lc", "../x", "sh"
	three.Affinity = time.Hour
	b.sync(t, one, two, three)
	b.expect(t, "after sync", "tcp 10.43.0.1:80 lc", "tcp 10.43.0.2:80 rr", "tcp 10.43.0.3:80 sh")
	if _, err := New(Options{Log: slog.New(slog.DiscardHandler), Scheduler: "none"}); err == nil ||
		err.Error() != "use IPVS scheduler none: the kernel does not have it; choose another --proxy-scheduler" {
		t.Errorf("got %v", err)
	}
}

// TestDrains: a removed endpoint without connections goes after a moment; one that returns before gets its weight back.
func TestDrains(t *testing.T) {
	b := kernelTest(t)
	both, first := service("one", "10.43.0.1", "10.42.0.1:8080", "10.42.0.2:8080"), service("one", "10.43.0.1", "10.42.0.1:8080")
	b.sync(t, both)
	update := func(old, now *state.Service) {
		t.Helper()
		if err := b.Update([]state.Change{{Old: old, New: now}}); err != nil {
			t.Fatal(err)
		}
	}
	update(both, first)
	b.expect(t, "after removal", "tcp 10.43.0.1:80 rr 10.42.0.1:8080*1 10.42.0.2:8080*0")
	update(first, both)
	b.expect(t, "after return", "tcp 10.43.0.1:80 rr 10.42.0.1:8080*1 10.42.0.2:8080*1")
	update(both, first)
	if n := b.sync(t, first); n != 0 {
		t.Errorf("%d differences while an endpoint drains", n)
	}
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for drained := false; !drained; <-tick.C {
		b.mu.Lock()
		drained = len(b.drain.until) == 0
		b.mu.Unlock()
		if !drained && time.Now().After(deadline) {
			t.Fatal("the endpoint drains for ever")
		}
	}
	b.expect(t, "after draining", "tcp 10.43.0.1:80 rr 10.42.0.1:8080*1")
}

// TestSettings: the parameters and the timeout are set, and set again.
func TestSettings(t *testing.T) {
	b := kernelTest(t)
	b.sync(t)
	for _, p := range parameters() {
		path := "/proc/sys/net/ipv4/vs/" + p.name
		raw, err := os.ReadFile(path)
		if err != nil && p.optional {
			continue
		}
		if err != nil || strings.TrimSpace(string(raw)) != p.value {
			t.Errorf("%s is %q, %v", p.name, raw, err)
		}
	}
	if timeout, err := b.conn.Timeout(); err != nil || timeout < 3*time.Hour {
		t.Errorf("timeout is %v, %v", timeout, err)
	}
	if err := b.conn.SetTimeouts(time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := b.settings[0].file.WriteAt([]byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if n := b.sync(t); n != 2 {
		t.Errorf("%d differences, want 2", n)
	}
}

// TestAvailable: either it works, or the error says what was found and what to do.
func TestAvailable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	err := Available()
	_, missing := os.Stat("/proc/net/ip_vs")
	if (err == nil) != (missing == nil) {
		t.Fatalf("%v, but the kernel's file: %v", err, missing)
	}
	if err != nil && !strings.Contains(err.Error(), "IPVS: missing") && !strings.Contains(err.Error(), "load the module (modprobe ip_vs") {
		t.Errorf("got %v", err)
	}
	t.Log(err)
}
