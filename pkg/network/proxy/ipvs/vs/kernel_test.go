package vs

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dial opens IPVS in a fresh network namespace on the test's thread, which ends with the test.
func dial(t *testing.T) *Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	lo, err := netlink.LinkByName("lo") // without it the kernel takes no address for one of a host
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial()
	if err != nil {
		if _, missing := os.Stat("/proc/net/ip_vs"); missing != nil && os.Getenv("KEDGE_IPVS") == "" {
			t.Skip("the kernel has no IPVS; tests/vm runs this test on one that has:", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func testServers() []Server {
	return []Server{
		{ID: ID{Protocol: unix.IPPROTO_TCP, AddrPort: netip.MustParseAddrPort("10.43.0.1:80")}, Scheduler: "rr", Flags: Label},
		{ID: ID{Protocol: unix.IPPROTO_UDP, AddrPort: netip.MustParseAddrPort("10.43.0.1:80")}, Scheduler: "lc"},
		{ID: ID{V6: true, Protocol: unix.IPPROTO_SCTP, AddrPort: netip.MustParseAddrPort("[fd43::1]:80")}, Scheduler: "sh", Flags: Label | HashFallback},
		{ID: ID{Protocol: unix.IPPROTO_TCP, AddrPort: netip.MustParseAddrPort("10.43.0.2:80")}, Scheduler: "rr", Flags: Label | Persistent, Timeout: 10800},
		{ID: ID{Mark: 0x4800}, Scheduler: "mh", Flags: Label | HashFallback},
		{ID: ID{V6: true, Mark: 0x8800}, Scheduler: "rr", Flags: Label},
	}
}

// TestServers: what is written is read back, with both ways of reading.
func TestServers(t *testing.T) {
	c := dial(t)
	table, err := OpenTable()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	to := []Dest{{AddrPort: netip.MustParseAddrPort("10.42.0.1:8080"), Weight: 1}, {AddrPort: netip.MustParseAddrPort("10.42.0.2:8080")}}
	to6 := []Dest{{AddrPort: netip.MustParseAddrPort("[fd42::1]:8080"), Weight: 1}}
	want, wantDests := map[ID]Server{}, map[ID][]Dest{}
	var requests []Request
	for _, s := range testServers() {
		want[s.ID] = s
		requests = append(requests, Add(s))
		dests := to
		if s.V6 {
			dests = to6
		}
		for _, d := range dests {
			requests = append(requests, AddDest(s.ID, d))
		}
		id := s.ID
		id.V6 = id.V6 && id.Mark == 0
		wantDests[id] = dests
	}
	if failed := c.Do(requests); len(failed) > 0 {
		t.Fatal(failed)
	}
	found, err := c.Servers()
	if err != nil {
		t.Fatal(err)
	}
	got := map[ID]Server{}
	for _, s := range found {
		got[s.ID] = s
		dests, err := c.Dests(s.ID)
		if err != nil || len(dests) != len(wantDests[ID{Protocol: s.Protocol, AddrPort: s.AddrPort, Mark: s.Mark, V6: s.V6 && s.Mark == 0}]) {
			t.Errorf("destinations of %s: %v, %v", s.ID, dests, err)
		}
	}
	exact := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(want, got, exact); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	gotDests, err := table.Dests()
	if err != nil {
		t.Fatal(err)
	}
	for id, list := range wantDests {
		if !sameDests(list, gotDests[id]) {
			t.Errorf("table of %s: %v, want %v", id, gotDests[id], list)
		}
	}
}

func sameDests(a, b []Dest) bool {
	if len(a) != len(b) {
		return false
	}
	found := map[Dest]bool{}
	for _, d := range a {
		found[d] = true
	}
	for _, d := range b {
		if !found[d] {
			return false
		}
	}
	return true
}

// TestFailures: of many requests in one message, those that fail are told apart, and the others are done.
func TestFailures(t *testing.T) {
	c := dial(t)
	servers := testServers()
	unknown := Server{ID: ID{Mark: 7}, Scheduler: "unheardof", Flags: Label}
	dest := Dest{AddrPort: netip.MustParseAddrPort("10.42.0.1:8080"), Weight: 1}
	requests := []Request{
		Add(servers[0]), Add(servers[0]), AddDest(servers[0].ID, dest), AddDest(servers[0].ID, dest),
		SetDest(servers[1].ID, dest), DeleteDest(servers[0].ID, Dest{AddrPort: netip.MustParseAddrPort("10.42.0.9:1")}), Add(unknown), Add(servers[4]),
	}
	var got []string
	for _, f := range c.Do(requests) {
		var number unix.Errno
		if !errors.As(f.Err, &number) {
			t.Errorf("%v is no error of the kernel", f)
		}
		got = append(got, f.String()+" "+unix.ErrnoName(number))
	}
	want := []string{
		"add virtual server tcp 10.43.0.1:80 EEXIST",
		"add destination 10.42.0.1:8080 to virtual server tcp 10.43.0.1:80 EEXIST",
		"set weight 1 of destination 10.42.0.1:8080 of virtual server udp 10.43.0.1:80 ESRCH",
		"delete destination 10.42.0.9:1 of virtual server tcp 10.43.0.1:80 ENOENT",
		"add virtual server ipv4 mark 0x7 ENOENT",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if found, err := c.Servers(); err != nil || len(found) != 2 {
		t.Errorf("found %v, %v", found, err)
	}
}

// TestManyFailures: the answers of thousands of requests that all fail are not lost.
func TestManyFailures(t *testing.T) {
	c := dial(t)
	var requests []Request
	for i := range 5000 {
		requests = append(requests, Delete(ID{Mark: uint32(i + 1)}))
	}
	failed := c.Do(requests)
	if len(failed) != len(requests) {
		t.Errorf("%d of %d failed", len(failed), len(requests))
	}
	for _, f := range failed {
		if !errors.Is(f.Err, unix.ESRCH) {
			t.Fatal(f)
		}
	}
}

func TestTimeouts(t *testing.T) {
	c := dial(t)
	if err := c.SetTimeouts(5 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Timeout(); err != nil || got != 5*time.Hour {
		t.Errorf("%v, %v", got, err)
	}
}
