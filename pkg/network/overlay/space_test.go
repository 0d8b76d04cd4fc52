package overlay

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	limit   = 5 * time.Second // bounds every wait
	longest = 1 << 20         // line that is answered, in bytes
)

// space is a network namespace: a node, or a pod.
type space struct {
	ns netns.NsHandle
	*netlink.Handle
}

func newSpace(t testing.TB) *space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := must(netns.Get())(t)
	ns := must(netns.New())(t)
	for _, path := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv4/conf/all/rp_filter", "/proc/sys/net/ipv4/conf/default/rp_filter"} {
		check(t, os.WriteFile(path, []byte("1"), 0)) // routers that check sources strictly
	}
	check(t, netns.Set(home))
	check(t, home.Close())
	s := &space{ns: ns, Handle: must(netlink.NewHandleAt(ns, unix.NETLINK_ROUTE))(t)}
	t.Cleanup(func() {
		s.Close()
		_ = s.ns.Close()
	})
	check(t, s.LinkSetUp(s.link(t, "lo")))
	return s
}

// do runs f in the namespace. Sockets that f opens stay there.
func (s *space) do(t testing.TB, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := must(netns.Get())(t)
	defer func() { _ = home.Close() }()
	check(t, netns.Set(s.ns))
	defer func() { check(t, netns.Set(home)) }()
	f()
}

func (s *space) link(t testing.TB, name string) netlink.Link {
	t.Helper()
	return must(s.LinkByName(name))(t)
}

// addresses gives a link addresses and waits until they serve.
func (s *space) addresses(t testing.TB, name string, all ...string) {
	t.Helper()
	link := s.link(t, name)
	check(t, s.LinkSetIP6AddrGenMode(link, addrGenModeNone))
	check(t, s.LinkSetUp(link))
	s.up(t, name) // before that the kernel prepares nothing for IPv6 addresses
	for _, text := range all {
		p := netip.MustParsePrefix(text)
		check(t, s.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}))
		s.serves(t, p.Addr())
	}
}

// up waits until a link passes packets. The kernel notices carriers when it is asked, and else up to a second later.
func (s *space) up(t testing.TB, name string) {
	t.Helper()
	eventually(t, name+" up", func() error {
		if state := s.link(t, name).Attrs().OperState; state != netlink.OperUp {
			return fmt.Errorf("it is %v", state)
		}
		return nil
	})
}

// serves waits until an address is the namespace's own: for IPv6 that is a moment after it was added.
func (s *space) serves(t testing.TB, a netip.Addr) {
	t.Helper()
	local := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}
	eventually(t, a.String(), func() error {
		if routes, err := s.RouteListFiltered(netlink.FAMILY_ALL, local, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST); err != nil || len(routes) == 0 {
			return fmt.Errorf("it has no local route (%w)", err)
		}
		return nil
	})
}

// plug connects two namespaces by a pair of links.
func plug(t testing.TB, a *space, nameA string, b *space, nameB string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = nameA
	check(t, a.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.ns)}))
}

// newSwitch connects nodes as eth0, each with the addresses of its own.
func newSwitch(t testing.TB, nodes ...*space) *space {
	t.Helper()
	sw := newSpace(t)
	snooping := false // floods multicast packets at once, for neighbour discovery
	check(t, sw.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &snooping}))
	for i, n := range nodes {
		plug(t, n, "eth0", sw, fmt.Sprint("port", i))
		port := sw.link(t, fmt.Sprint("port", i))
		check(t, sw.LinkSetMaster(port, sw.link(t, "br0")))
		check(t, sw.LinkSetUp(port))
	}
	check(t, sw.LinkSetUp(sw.link(t, "br0")))
	return sw
}

// pod gives a node a pod, as pkg/network/cni does.
func (s *space) pod(t testing.TB, ips ...string) *space {
	t.Helper()
	p := newSpace(t)
	name := "kdg" + fmt.Sprint(int(p.ns))
	plug(t, s, name, p, "eth0")
	host := s.link(t, name)
	check(t, s.LinkSetUp(host))
	for _, ip := range ips {
		a := netip.MustParseAddr(ip)
		p.addresses(t, "eth0", netip.PrefixFrom(a, a.BitLen()).String())
		s.up(t, name)
		gw := netip.MustParseAddr("169.254.1.1")
		everything := netip.MustParsePrefix("0.0.0.0/0")
		if a.Is6() {
			gw, everything = netip.MustParseAddr("fe80::1"), netip.MustParsePrefix("::/0")
		}
		inside := p.link(t, "eth0")
		check(t, p.NeighSet(&netlink.Neigh{LinkIndex: inside.Attrs().Index, State: netlink.NUD_PERMANENT, IP: gw.AsSlice(), HardwareAddr: host.Attrs().HardwareAddr}))
		check(t, p.RouteAdd(&netlink.Route{LinkIndex: inside.Attrs().Index, Dst: ipNet(everything), Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}))
		check(t, s.NeighSet(&netlink.Neigh{LinkIndex: host.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: inside.Attrs().HardwareAddr}))
		check(t, s.RouteAdd(&netlink.Route{LinkIndex: host.Attrs().Index, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}))
	}
	return p
}

// running is an overlay that runs in a node.
type running struct {
	*Overlay
	space *space
	stop  func()
}

// run starts an overlay for the node called name; nodes are all there are.
func (s *space) run(t testing.TB, backend Backend, name string, nodes ...Node) *running {
	t.Helper()
	cfg := Config{Backend: backend, NodeName: name}
	for _, n := range nodes {
		if n.Name == name {
			cfg.NodeIPs = n.Addresses
		}
	}
	var o *Overlay
	s.do(t, func() { o = must(New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil))))(t) })
	for _, n := range nodes {
		o.SetNode(n)
	}
	o.Complete()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- o.Run(ctx, func() { close(ready) }) }()
	r := &running{Overlay: o, space: s}
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("overlay of %s: %v", name, err)
		}
		ended <- nil
	}
	t.Cleanup(func() { r.stop() })
	select {
	case <-ready:
	case <-time.After(limit):
		t.Fatalf("overlay of %s is not ready after %v", name, limit)
	}
	for a := range s.state(t).Addresses {
		s.serves(t, a.Addr)
	}
	return r
}

// state is what the kernel holds.
func (s *space) state(t testing.TB) (found State) {
	t.Helper()
	s.do(t, func() {
		k := must(openKernel())(t)
		found = must(k.read())(t)
		check(t, k.close())
	})
	return found
}

// serveWho answers every line on TCP port 80 with the address that it came from.
func (s *space) serveWho(t testing.TB) {
	t.Helper()
	var l net.Listener
	s.do(t, func() { l = must(net.Listen("tcp", ":80"))(t) })
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewScanner(conn)
				in.Buffer(nil, longest+1)
				for in.Scan() {
					fmt.Fprintln(conn, netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr().Unmap())
				}
			}()
		}
	}()
}

// dial opens a connection from the namespace to port 80 of ip.
func (s *space) dial(t testing.TB, ip string) (conn net.Conn, err error) {
	t.Helper()
	s.do(t, func() { conn, err = net.DialTimeout("tcp", net.JoinHostPort(ip, "80"), time.Second) })
	return conn, err
}

// ask says what the server at ip takes the namespace for, or the error.
func (s *space) ask(t testing.TB, ip string) string {
	t.Helper()
	conn, err := s.dial(t, ip)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	return askOn(conn)
}

func askOn(conn net.Conn) string {
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := fmt.Fprintln(conn, "?"); err != nil {
		return err.Error()
	}
	in := bufio.NewScanner(conn)
	if !in.Scan() {
		return fmt.Sprint("no answer: ", in.Err())
	}
	return in.Text()
}

func eventually(t testing.TB, what string, done func() error) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		err := done()
		if err == nil {
			return
		}
		if time.Since(begin) > limit {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
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
