package cni

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inNode runs the calling test again as a process of its own in a fresh network namespace, the node, so that neither the
// machine's namespace nor another test is touched. The caller returns at once when it is false.
func inNode(t testing.TB) bool {
	t.Helper()
	const marker = "KEDGE_TEST_NODE"
	if os.Getenv(marker) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	if _, ok := t.(*testing.B); ok {
		args = []string{"-test.run=^$", "-test.bench=^" + t.Name() + "$"}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in the node's namespace: %v", err)
	}
	return false
}

// space is a network namespace.
type space struct {
	ns   netns.NsHandle
	path string
}

func newSpace(t testing.TB) *space {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := must(netns.Get())(t)
	ns := must(netns.New())(t)
	check(t, netns.Set(home))
	check(t, home.Close())
	s := &space{ns: ns, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(ns))}
	t.Cleanup(func() { _ = s.ns.Close() })
	return s
}

// close ends the namespace, as far as the test keeps it.
func (s *space) close(t testing.TB) {
	t.Helper()
	check(t, s.ns.Close())
}

// do runs f in the namespace; a nil space is the node. Sockets that f opens stay there.
func (s *space) do(t testing.TB, f func()) {
	t.Helper()
	if s == nil {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := must(netns.Get())(t)
	defer func() { _ = home.Close() }()
	check(t, netns.Set(s.ns))
	defer func() { check(t, netns.Set(home)) }()
	f()
}

func (s *space) handle(t testing.TB) *netlink.Handle {
	t.Helper()
	ns := netns.None()
	if s != nil {
		ns = s.ns
	}
	h := must(netlink.NewHandleAt(ns, unix.NETLINK_ROUTE))(t)
	t.Cleanup(h.Close)
	return h
}

// The addresses of the test's small world: node and outside share a link, and nobody has a default route but the outside.
const (
	nodeIP4, nodeIP6       = "192.0.2.1", "2001:db8::1"
	otherIP4               = "192.0.2.9" // a second address of the node
	outsideIP4, outsideIP6 = "192.0.2.2", "2001:db8::2"
)

// newOutside links the node's eth0 with a namespace outside. Outside routes nothing to pods.
func newOutside(t testing.TB) *space {
	t.Helper()
	out := newSpace(t)
	node := (*space)(nil).handle(t)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", MTU: 1480, TxQLen: -1}, PeerName: "eth0", PeerNamespace: netlink.NsFd(out.ns)}
	check(t, node.LinkAdd(veth))
	outside := out.handle(t)
	for _, h := range []*netlink.Handle{outside, node} {
		eth0 := must(h.LinkByName("eth0"))(t)
		check(t, h.LinkSetIP6AddrGenMode(eth0, addrGenModeNone))
		check(t, h.LinkSetUp(must(h.LinkByName("lo"))(t)))
		check(t, h.LinkSetUp(eth0))
	}
	addAddresses(t, node, nodeIP4+"/24", otherIP4+"/24", nodeIP6+"/64")
	addAddresses(t, outside, outsideIP4+"/24", outsideIP6+"/64")
	return out
}

func addAddresses(t testing.TB, h *netlink.Handle, addresses ...string) {
	t.Helper()
	eth0 := must(h.LinkByName("eth0"))(t)
	check(t, awaitCarrier(h, eth0))
	for _, a := range addresses {
		addr := must(netlink.ParseAddr(a))(t)
		addr.Flags = unix.IFA_F_NODAD
		check(t, h.AddrAdd(eth0, addr))
		local := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: hostNet(must(netip.ParsePrefix(a))(t).Addr())}
		eventually(t, func() bool { // the kernel adds that of IPv6 a moment later
			routes, err := h.RouteListFiltered(netlink.FAMILY_ALL, local, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
			return err == nil && len(routes) > 0
		})
	}
}

func eventually(t testing.TB, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); !done(); <-tick.C {
		if time.Since(begin) > 5*time.Second {
			t.Fatal("it does not happen within 5 s")
		}
	}
}

// serveWho answers every TCP connection and UDP datagram to the address (":80" is any) with the address that it came from.
func (s *space) serveWho(t testing.TB, address string) {
	t.Helper()
	s.do(t, func() {
		listener := must(net.Listen("tcp", address))(t)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go who(conn)
			}
		}()
		packets := must(net.ListenPacket("udp", address))(t).(*net.UDPConn)
		go func() {
			for buffer := make([]byte, 64); ; {
				_, from, err := packets.ReadFromUDPAddrPort(buffer)
				if err != nil {
					return
				}
				_, _ = packets.WriteToUDPAddrPort([]byte(from.Addr().Unmap().String()), from)
			}
		}()
		t.Cleanup(func() { _, _ = listener.Close(), packets.Close() })
	})
}

// who answers each byte that comes with the peer's address and a line end.
func who(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	from := netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr().Unmap()
	for b := make([]byte, 1); ; {
		if _, err := conn.Read(b); err != nil {
			return
		}
		if _, err := fmt.Fprintln(conn, from); err != nil {
			return
		}
	}
}

// dial opens a connection from the namespace.
func (s *space) dial(t testing.TB, network, target string) (conn net.Conn, err error) {
	t.Helper()
	s.do(t, func() { conn, err = net.DialTimeout(network, target, time.Second) })
	return conn, err
}

// ask says what the server at target takes the namespace for, or "" when there is no answer.
func (s *space) ask(t testing.TB, network, target string) string {
	t.Helper()
	conn, err := s.dial(t, network, target)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	return askOn(conn)
}

func askOn(conn net.Conn) string {
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("?")); err != nil {
		return ""
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return ""
	}
	if answer[n-1] == '\n' {
		n--
	}
	return string(answer[:n])
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
