package netns

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

// lost is that a connection's first packet had to be sent again.
const lost = "first packet lost"

// connectOnce opens a TCP connection and tells what went wrong, if only that its first packet got lost.
func (w *world) connectOnce(from string, source netip.AddrPort, target string) (conn net.Conn, failure string) {
	conn, err := w.in[from].Dial("tcp", source, target, answerLimit)
	if err != nil {
		return nil, space.Verdict(err)
	}
	switch first, err := space.LostFirst(conn); {
	case err != nil:
		failure = err.Error()
	case first:
		failure = lost
	}
	return conn, failure
}

// askOnce asks on a new TCP connection and tells what went wrong.
func (w *world) askOnce(from string, source netip.AddrPort, target string) (failure string) {
	conn, failure := w.connectOnce(from, source, target)
	if conn == nil {
		return failure
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that no port stays in use after the connection
	}
	defer func() { _ = conn.Close() }()
	if answer := space.AskOn(conn, answerLimit); failure == "" && !strings.Contains(answer, " ") {
		failure = answer
	}
	return failure
}

// way is one that connections take, always from the same port.
type way struct {
	from   string
	source netip.AddrPort
	target string
}

// ways go from everybody to everywhere. Who takes them in turn uses a port again after a while: a packet that was on its way when
// its connection ended has arrived by then.
func (w *world) ways(t *testing.T, from []string, to ...string) (all []way) {
	t.Helper()
	for n, name := range from {
		for _, where := range to {
			for v6 := range 2 {
				_, target := w.target(t, v6, where)
				all = append(all, way{name, netip.AddrPortFrom(w.names[name][v6], uint16(firstPort+n)), target})
			}
		}
	}
	return all
}

func (y way) String() string {
	return fmt.Sprintf("%s from port %d to %s", y.from, y.source.Port(), y.target)
}

// TestReuse: a client that uses the port of a connection again which the server has reset is answered at once. Connection tracking
// may still know the old one.
func TestReuse(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := balanced(exposed(newService("web", 10, tcp(80)), v1.ServiceExternalTrafficPolicyLocal), "external", "lb")
		w.set(t, s, ready("a", "d")...)
		w.set(t, exposed(newService("everywhere", 11, tcp(81)), v1.ServiceExternalTrafficPolicyCluster), ready("b", "e")...)
		all := w.ways(t, []string{"c", "a", "node", "outside"}, "tcp web:80", "tcp node2:30080", "tcp lb:80", "tcp everywhere:81", "tcp node2:30081")
		for range 4 {
			for _, y := range all {
				w.provoke(t, y)
			}
		}
	})
}

// provoke has a connection reset by its server.
func (w *world) provoke(t *testing.T, y way) {
	t.Helper()
	conn, failure := w.connectOnce(y.from, y.source, y.target)
	if failure != "" {
		t.Errorf("%s: %s", y, failure)
	}
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if got := space.Provoke(conn, answerLimit); !strings.HasPrefix(got, "broken") {
		t.Errorf("%s: %q, want a reset", y, got)
	}
}

// TestLate: an acknowledgement that comes after its connection was reset does not keep a new connection from the same port waiting, though
// nobody answers it.
func TestLate(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := balanced(exposed(newService("web", 10, tcp(80)), v1.ServiceExternalTrafficPolicyLocal), "external", "lb")
		w.set(t, s, ready("b")...)
		stop := must(w.in["b"].KeepResets())(t)
		all := w.ways(t, []string{"c", "node", "outside"}, "tcp web:80", "tcp node2:30080", "tcp lb:80")
		for range 3 {
			for _, y := range all {
				if failure := w.askOnce(y.from, y.source, y.target); failure != "" {
					t.Errorf("%s: %s", y, failure)
				}
			}
			for _, y := range all {
				check(t, w.in[y.from].Acknowledge(y.source, netip.MustParseAddrPort(y.target)))
			}
		}
		check(t, stop())
	})
}
