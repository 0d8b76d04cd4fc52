package netns

import (
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

// TestReuse: a client that uses the port of a connection again which the server has reset is answered at once. Connection tracking
// may still know the old one.
func TestReuse(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := balanced(exposed(newService("web", 10, tcp(80)), v1.ServiceExternalTrafficPolicyLocal), "external", "lb")
		w.set(t, s, ready("a", "d")...)
		w.set(t, exposed(newService("everywhere", 11, tcp(81)), v1.ServiceExternalTrafficPolicyCluster), ready("b", "e")...)
		for n, from := range []string{"c", "a", "node", "outside"} {
			for _, to := range []string{"tcp web:80", "tcp node2:30080", "tcp lb:80", "tcp everywhere:81", "tcp node2:30081"} {
				for v6 := range 2 {
					w.reuse(t, v6, from, to, uint16(firstPort+n))
				}
			}
		}
	})
}

// reuse has a client's connections reset several times, all of which come from the same port.
func (w *world) reuse(t *testing.T, v6 int, from, to string, port uint16) {
	t.Helper()
	_, target := w.target(t, v6, to)
	for range 4 {
		conn, failure := w.connectOnce(from, netip.AddrPortFrom(w.names[from][v6], port), target)
		if failure != "" {
			t.Errorf("%s from port %d to %s: %s", from, port, target, failure)
		}
		if conn == nil {
			return
		}
		if got := space.Provoke(conn, answerLimit); !strings.HasPrefix(got, "broken") {
			t.Errorf("%s to %s: %q, want a reset", from, target, got)
		}
		_ = conn.Close()
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
		for n, from := range []string{"c", "node", "outside"} {
			for _, to := range []string{"tcp web:80", "tcp node2:30080", "tcp lb:80"} {
				for v6 := range 2 {
					_, target := w.target(t, v6, to)
					source := netip.AddrPortFrom(w.names[from][v6], uint16(firstPort+n))
					for range 2 {
						if failure := w.askOnce(from, source, target); failure != "" {
							t.Errorf("%s from port %d to %s: %s", from, source.Port(), target, failure)
						}
						check(t, w.in[from].Acknowledge(source, netip.MustParseAddrPort(target)))
					}
				}
			}
		}
		check(t, stop())
	})
}
