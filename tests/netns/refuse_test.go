package netns

import (
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

// TestNoEndpoints: a service that has no endpoint anywhere refuses at once, whoever asks.
func TestNoEndpoints(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := exposed(newService("web", 10, tcp(80), udp(80)), v1.ServiceExternalTrafficPolicyCluster)
		s = balanced(s, "external", "lb")
		w.set(t, s, endpoint{name: "a", unready: true})
		for _, from := range []string{"a", "node", "outside"} {
			for _, to := range []string{"tcp web:80", "udp web:80", "tcp external:80", "udp lb:80", "tcp node:30080", "udp node2:30080"} {
				w.check(t, probe{from, to, space.Refused})
			}
		}
		w.set(t, s, ready("a")...)
		w.check(t, probe{"b", "tcp web:80", "a from b"}, probe{"outside", "tcp lb:80", "a from node"})
		w.set(t, s)
		w.check(t, probe{"b", "tcp web:80", space.Refused}, probe{"outside", "tcp lb:80", space.Refused})
	})
}

// TestOtherPorts: what listens on all of the node's addresses is not reached through addresses of services, nor through those of
// the service network that no service has; what kedge itself serves on an address of the service network is.
func TestOtherPorts(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		stop := must(w.in["node"].Serve("tcp", "[::]:22", "sshd"))(t)
		t.Cleanup(stop)
		w.names["dns"], w.names["unused"] = pair("10.43.0.53 fd00:43::35"), pair("10.43.7.7 fd00:43::707")
		for _, a := range w.names["dns"] {
			check(t, w.in["node"].AddAddresses("lo", netip.PrefixFrom(a, a.BitLen())))
		}
		t.Cleanup(func() {
			for _, a := range w.names["dns"] {
				check(t, w.in["node"].DelAddress("lo", netip.PrefixFrom(a, a.BitLen())))
			}
		})
		dns := w.names["dns"]
		w.in["dns"], w.node.Own = w.in["node"], dns[:]
		w.sync(t)
		w.serve("udp", "dns", 53)
		w.serve("tcp", "dns", 53)
		w.set(t, balanced(newService("web", 10, tcp(80)), "external", "lb"), ready("a")...)
		for _, from := range []string{"b", "node", "outside"} {
			w.check(
				t,
				probe{from, "tcp web:22", space.Refused},
				probe{from, "udp web:80", space.Refused},
				probe{from, "tcp external:22", nothing},
				probe{from, "tcp lb:22", nothing},
				probe{from, "tcp unused:22", nothing},
				probe{from, "tcp node:22", "sshd from " + from},
			)
		}
		w.check(t, probe{"b", "udp dns:53", "dns from b"}, probe{"b", "tcp dns:53", "dns from b"})
		w.restart(t)
		w.check(t, probe{"b", "udp dns:53", "dns from b"}, probe{"b", "tcp web:22", space.Refused}, probe{"b", "tcp web:80", "a from b"})
		w.remove(t, "web")
		w.check(t, probe{"b", "tcp web:22", nothing}, probe{"outside", "tcp web:22", nothing}, probe{"outside", "tcp lb:22", nothing})
	})
}
