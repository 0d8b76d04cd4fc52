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

// TestSamePort: a client may use one port for connections to several services, or to several addresses of one, though all lead to the same
// endpoint. Each gets its own answers for as long as it lasts, and after the others have ended. SCTP is left out where the kernel has none.
func TestSamePort(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		networks, both := []string{"tcp", "udp"}, []v1.ServicePort{tcp(80), tcp(81), udp(80), udp(81)}
		kept := []v1.ServicePort{tcp(90), udp(90)}
		if space.HasSCTP() == nil {
			networks = append(networks, "sctp")
			both = append(both, port(v1.ProtocolSCTP, 80, 0), port(v1.ProtocolSCTP, 81, 0))
			kept = append(kept, port(v1.ProtocolSCTP, 90, 0))
			w.serve("sctp", "a", 8080)
			w.serve("sctp", "d", 8080)
		}
		web := balanced(exposed(newService("web", 10, both...), v1.ServiceExternalTrafficPolicyCluster), "external", "lb")
		w.set(t, web, ready("a")...)
		w.set(t, exposed(newService("kept", 11, kept...), v1.ServiceExternalTrafficPolicyLocal), ready("a")...)
		w.set(t, newService("elsewhere", 12, both...), ready("d")...)
		near := []string{"web:80", "web:81", "external:80", "lb:81", "node:30080", "node2:30080", "kept:90"}
		source := uint16(firstPort)
		for _, from := range []string{"a", "b", "node", "outside"} {
			for _, network := range networks {
				for _, targets := range [][]string{near, {"elsewhere:80", "elsewhere:81"}, {"node:30090", "node2:30090", "web:80"}} {
					source++
					for v6 := range 2 {
						at := netip.AddrPortFrom(w.names[from][v6], source)
						t.Run(fmt.Sprint(network, " from ", at), func(t *testing.T) { w.sharePort(t, v6, from, at, network, targets) })
					}
				}
			}
		}
	})
}

// sharePort connects to all targets from one port and asks on each connection, after every new one and after each that ends. In the end
// they are ended as clients and servers do it, in the order in which they were opened. The first failure ends it.
func (w *world) sharePort(t *testing.T, v6 int, from string, source netip.AddrPort, network string, targets []string) {
	t.Helper()
	var links []link
	for _, to := range targets {
		_, target := w.target(t, v6, network+" "+to)
		conn := must(w.in[from].Dial(network, source, target, answerLimit))(t)
		t.Cleanup(func() { _ = conn.Close() })
		l := link{Conn: conn, name: from + " to " + network + " " + target}
		l.answer = space.AskOn(conn, answerLimit)
		if !strings.Contains(l.answer, " ") {
			t.Errorf("%s, with %d connections from its port: %s", l.name, len(links), l.answer)
		}
		links = append(links, l)
		if checkLinks(t, "with a connection to "+target, links); t.Failed() {
			return
		}
	}
	for n, l := range links {
		if _, ok := l.Conn.(*net.TCPConn); ok && n%2 == 0 {
			space.Provoke(l, answerLimit)
		}
		_ = l.Close()
		if checkLinks(t, "without the connection of "+l.name, links[n+1:]); t.Failed() {
			return
		}
	}
}
