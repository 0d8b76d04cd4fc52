package config

import (
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs the test in a network namespace of its own, which ends with the test's thread.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace of its own")
	}
	runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs the right to make a network namespace: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, name string, addrs ...string) netlink.Link {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	l, err := netlink.LinkByName(name)
	must(t, err)
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		must(t, err)
		addr.Flags = unix.IFA_F_NODAD
		must(t, netlink.AddrAdd(l, addr))
	}
	must(t, netlink.LinkSetUp(l))
	return l
}

func route(t *testing.T, l netlink.Link, via, src string, metric int) {
	t.Helper()
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Priority: metric, Gw: netip.MustParseAddr(via).AsSlice()}
	if src != "" {
		r.Src = netip.MustParseAddr(src).AsSlice()
	}
	must(t, netlink.RouteAdd(r))
}

func addresses(t *testing.T) string {
	t.Helper()
	found, err := Host{}.Addresses()
	must(t, err)
	return strings.Join(each(found), " ")
}

// TestAddresses follows a host from bare to two default routes.
func TestAddresses(t *testing.T) {
	inNamespace(t)
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, ""},
		{func() {
			link(t, "docker0", "172.17.0.1/16")
			link(t, "kdg0", "10.42.0.1/32")
			link(t, "veth1", "10.9.0.1/24")
		}, ""},
		{func() { link(t, "ll0", "169.254.7.7/16") }, ""},
		{func() { link(t, "lan0", "192.0.2.7/24", "192.0.2.8/24", "2001:db8::7/64") }, "192.0.2.7 2001:db8::7"},
		{func() { route(t, link(t, "wan0", "198.51.100.7/24"), "198.51.100.1", "", 200) }, "198.51.100.7 2001:db8::7"},
		{func() {
			l, err := netlink.LinkByName("lan0")
			must(t, err)
			route(t, l, "192.0.2.1", "192.0.2.8", 100)
		}, "192.0.2.8 2001:db8::7"},
	}
	for i, s := range steps {
		s.do()
		if got := addresses(t); got != s.want {
			t.Errorf("step %d: addresses %q, want %q", i, got, s.want)
		}
	}
}
