package netns

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

// TestInternalLocal: internalTrafficPolicy Local keeps to this node, and drops where it has no endpoint.
func TestInternalLocal(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		local := v1.ServiceInternalTrafficPolicyLocal
		s := exposed(newService("web", 10, tcp(80), udp(80)), v1.ServiceExternalTrafficPolicyCluster)
		s.Spec.InternalTrafficPolicy = &local
		w.set(t, s, ready("a", "b", "d", "e")...)
		for _, network := range []string{"tcp", "udp"} {
			w.check(
				t,
				probe{"a", network + " web:80", "a from node, b from a"},
				probe{"c", network + " web:80", "a from c, b from c"},
				probe{"node", network + " web:80", "a from node, b from node"},
				probe{"outside", network + " node:30080", "a from node, b from node, d from node, e from node"},
				probe{"c", network + " node:30080", "a from c, b from c, d from c, e from c"},
			)
		}
		w.set(t, s, ready("d")...)
		for _, from := range []string{"a", "node"} {
			w.check(t, probe{from, "tcp web:80", space.Dropped}, probe{from, "udp web:80", space.Dropped})
		}
		w.check(t, probe{"outside", "tcp node:30080", "d from node"})
		w.set(t, s)
		w.check(t, probe{"a", "tcp web:80", space.Refused}, probe{"node", "udp web:80", space.Refused})
		w.set(t, s, ready("c")...)
		w.check(t, probe{"a", "tcp web:80", "c from a"})
	})
}

// TestExternalLocal: externalTrafficPolicy Local keeps to this node and keeps the client's address; who asks from inside gets every
// endpoint.
func TestExternalLocal(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := balanced(exposed(newService("web", 10, tcp(80), udp(80)), v1.ServiceExternalTrafficPolicyLocal), "external", "lb")
		w.set(t, s, ready("a", "b", "d")...)
		for _, to := range []string{"tcp node:30080", "udp node:30080", "tcp node2:30080", "tcp external:80", "udp external:80", "tcp lb:80", "udp lb:80"} {
			w.check(
				t,
				probe{"outside", to, "a from outside, b from outside"},
				probe{"a", to, "a from node, b from a, d from a"},
				probe{"c", to, "a from c, b from c, d from c"},
				probe{"node", to, "a from node, b from node, d from node"},
			)
		}
		w.check(t, probe{"outside", "tcp web:80", "a from node, b from node, d from node"})
		w.set(t, s, ready("d")...)
		for _, to := range []string{"tcp node:30080", "udp node:30080", "tcp external:80", "udp lb:80"} {
			w.check(t, probe{"outside", to, space.Dropped}, probe{"c", to, "d from c"}, probe{"node", to, "d from node"})
		}
		w.set(t, s)
		w.check(t, probe{"outside", "tcp node:30080", space.Refused}, probe{"c", "tcp lb:80", space.Refused})
		w.set(t, s, ready("c", "d")...)
		w.check(t, probe{"outside", "tcp node:30080", "c from outside"}, probe{"outside", "udp lb:80", "c from outside"})
		both, local := s.DeepCopy(), v1.ServiceInternalTrafficPolicyLocal
		both.Spec.InternalTrafficPolicy = &local
		w.set(t, both, ready("c", "d")...)
		w.check(
			t,
			probe{"outside", "tcp lb:80", "c from outside"},
			probe{"a", "tcp lb:80", "c from a, d from a"},
			probe{"a", "tcp web:80", "c from a"},
		)
	})
}
