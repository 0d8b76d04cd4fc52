package netns

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

// TestNodePort: every address of the node answers, from everywhere.
func TestNodePort(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := exposed(newService("web", 10, tcp(80), udp(80), tcp(81)), v1.ServiceExternalTrafficPolicyCluster)
		w.set(t, s, ready("a", "b", "d")...)
		for _, to := range []string{"tcp node:30080", "udp node:30080", "tcp node2:30080", "tcp node3:30080", "tcp node:30081", "tcp web:80"} {
			w.check(
				t,
				probe{"a", to, "a from node, b from a, d from a"},
				probe{"c", to, "a from c, b from c, d from c"},
				probe{"node", to, "a from node, b from node, d from node"},
			)
		}
		for _, to := range []string{"tcp node:30080", "udp node:30080", "tcp node2:30080"} {
			w.check(
				t,
				probe{"outside", to, "a from node, b from node, d from node"},
				probe{"far", "tcp node3:30080", "a from node, b from node, d from node"},
			)
		}
		w.check(t, probe{"outside", "tcp node:30082", space.Refused}, probe{"node", "tcp localhost:30080", space.Refused})
		w.node.NodePortAddresses = w.node.NodePortAddresses[:0]
		for _, a := range w.names["node2"] {
			w.node.NodePortAddresses = append(w.node.NodePortAddresses, a)
		}
		w.sync(t)
		w.check(
			t,
			probe{"outside", "tcp node:30080", space.Refused},
			probe{"node", "tcp node:30080", space.Refused},
			probe{"outside", "tcp node2:30080", "a from node, b from node, d from node"},
		)
		w.set(t, newService("web", 10, tcp(80)), ready("a")...)
		w.check(t, probe{"outside", "tcp node2:30080", space.Refused}, probe{"b", "tcp web:80", "a from b"})
	})
}

// TestFarPod: a pod of another node that uses a port of this node is answered whichever endpoint it gets, also one that could answer
// past this node.
func TestFarPod(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		w.set(t, exposed(newService("web", 10, tcp(80)), v1.ServiceExternalTrafficPolicyCluster), ready("a", "e")...)
		w.check(t, probe{"d", "tcp node3:30080", "a from d, e from node"})
	})
}

// TestExternalAddresses: external and load balancer addresses, and who may use the latter.
func TestExternalAddresses(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := balanced(newService("web", 10, tcp(80), udp(80)), "external", "lb")
		w.set(t, s, ready("a", "d")...)
		for _, to := range []string{"tcp external:80", "udp external:80", "tcp lb:80", "udp lb:80"} {
			w.check(
				t,
				probe{"a", to, "a from node, d from a"},
				probe{"b", to, "a from b, d from b"},
				probe{"node", to, "a from node, d from node"},
				probe{"outside", to, "a from node, d from node"},
			)
		}
		limited := s.DeepCopy()
		limited.Spec.LoadBalancerSourceRanges = []string{
			w.names["outside2"][0].String() + "/32", w.names["outside2"][1].String() + "/128", w.names["b"][0].String() + "/32", w.names["b"][1].String() + "/128",
		}
		w.set(t, limited, ready("a", "d")...)
		for _, network := range []string{"tcp", "udp"} {
			w.check(
				t,
				probe{"outside", network + " lb:80", space.Dropped},
				probe{"outside2", network + " lb:80", "a from node, d from node"},
				probe{"outside", network + " external:80", "a from node, d from node"},
				probe{"b", network + " lb:80", "a from b, d from b"},
				probe{"a", network + " lb:80", space.Dropped},
				probe{"outside", network + " web:80", "a from node, d from node"},
			)
		}
		w.set(t, s, ready("a")...)
		w.check(t, probe{"outside", "tcp lb:80", "a from node"})
		w.set(t, newService("web", 10, tcp(80)), ready("a")...)
		w.check(t, probe{"outside", "tcp lb:80", nothing}, probe{"outside", "tcp external:80", nothing}, probe{"outside", "tcp web:80", "a from node"})
	})
}

// TestLoadBalancerProxy: a load balancer that is a proxy does not want its address to be answered here.
func TestLoadBalancerProxy(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s, mode := balanced(newService("web", 10, tcp(80)), "external", "lb"), v1.LoadBalancerIPModeProxy
		for i := range s.Status.LoadBalancer.Ingress {
			s.Status.LoadBalancer.Ingress[i].IPMode = &mode
		}
		w.set(t, s, ready("a")...)
		w.check(t, probe{"outside", "tcp lb:80", nothing}, probe{"outside", "tcp external:80", "a from node"})
	})
}
