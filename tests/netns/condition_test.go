package netns

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"kedge/tests/netns/space"
)

// TestConditions: which endpoints are used, by their conditions.
func TestConditions(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := exposed(newService("web", 10, tcp(80), udp(80)), v1.ServiceExternalTrafficPolicyLocal)
		steps := []struct {
			endpoints       []endpoint
			inside, outside string
		}{
			{[]endpoint{{name: "a"}, {name: "b", unready: true}, {name: "d", terminating: true}}, "a from c", "a from outside"},
			{[]endpoint{{name: "a", unready: true}, {name: "b", terminating: true}, {name: "d"}}, "d from c", "b from outside"},
			{[]endpoint{{name: "a", terminating: true}, {name: "d", terminating: true}}, "a from c, d from c", "a from outside"},
			{[]endpoint{{name: "a", terminating: true, unready: true}, {name: "d", terminating: true}}, "d from c", space.Dropped},
			{[]endpoint{{name: "a", terminating: true, unready: true}, {name: "d", unready: true}}, space.Refused, space.Refused},
			// publishNotReadyAddresses: the API says ready of whatever there is
			{[]endpoint{{name: "a", published: true, unready: true}, {name: "b", published: true, terminating: true}}, "a from c, b from c", "a from outside, b from outside"},
		}
		for _, step := range steps {
			w.set(t, s, step.endpoints...)
			for _, network := range []string{"tcp", "udp"} {
				w.check(t, probe{"c", network + " web:80", step.inside}, probe{"outside", network + " node:30080", step.outside})
			}
		}
	})
}

// TestTopology: hints choose the zone or the node, unless an endpoint has none or there is none for this node.
func TestTopology(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		zoned := func(name, zone string) endpoint {
			return endpoint{name: name, hints: &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: zone}}}}
		}
		noded := func(name, node string) endpoint {
			e := zoned(name, zone)
			e.hints.ForNodes = []discovery.ForNode{{Name: node}}
			return e
		}
		s := newService("web", 10, tcp(80))
		steps := []struct {
			endpoints []endpoint
			want      string
		}{
			{[]endpoint{zoned("a", zone), zoned("d", "zone-b")}, "a from c"},
			{[]endpoint{zoned("a", "zone-b"), zoned("d", zone)}, "d from c"},
			{[]endpoint{zoned("a", zone), {name: "d"}}, "a from c, d from c"},
			{[]endpoint{zoned("a", "zone-b"), zoned("d", "zone-b")}, "a from c, d from c"},
			{[]endpoint{noded("a", nodeName), noded("d", "far")}, "a from c"},
			{[]endpoint{noded("a", "far"), noded("d", "far")}, "a from c, d from c"},
		}
		for _, step := range steps {
			w.set(t, s, step.endpoints...)
			w.check(t, probe{"c", "tcp web:80", step.want})
		}
	})
}

// TestHostNetwork: endpoints that are nodes.
func TestHostNetwork(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		for _, name := range []string{"node", "far"} {
			w.serve("tcp", name, 8080)
			w.serve("udp", name, 8080)
		}
		w.set(t, newService("api", 1, tcp(443), udp(443)), ready("node")...)
		w.set(t, newService("both", 2, tcp(443), udp(443)), ready("node", "far")...)
		for _, network := range []string{"tcp", "udp"} {
			w.check(
				t,
				probe{"a", network + " api:443", "node from a"},
				probe{"node", network + " api:443", "node from node"},
				probe{"a", network + " both:443", "far from a, node from a"},
				probe{"node", network + " both:443", "far from node, node from node"},
			)
		}
	})
}
