package netns

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

// TestMoves: addresses and ports that pass from one service to another, in one change.
func TestMoves(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		one, two := balanced(newService("one", 10, tcp(80)), "external", "lb"), newService("two", 11, tcp(80))
		w.set(t, one, ready("a")...)
		w.set(t, two, ready("b")...)
		w.check(t, probe{"outside", "tcp lb:80", "a from node"}, probe{"outside", "tcp node:30080", "a from node"})

		w.objects["one"] = object{newService("one", 10, tcp(80)), w.objects["one"].slices}
		w.objects["two"] = object{balanced(two, "external", "lb"), w.objects["two"].slices}
		w.update(t)
		w.check(
			t,
			probe{"c", "tcp one:80", "a from c"}, probe{"c", "tcp two:80", "b from c"}, probe{"outside", "tcp lb:80", "b from node"},
			probe{"outside", "tcp external:80", "b from node"}, probe{"outside", "tcp node:30080", "b from node"},
		)
		w.same(t, w.sync(t))

		delete(w.objects, "two") // and a service of another name gets its cluster address at once
		w.set(t, newService("three", 11, tcp(80)), ready("c")...)
		w.check(t, probe{"a", "tcp three:80", "c from a"}, probe{"outside", "tcp lb:80", nothing}, probe{"outside", "tcp node:30080", space.Refused})
		w.same(t, w.sync(t))
	})
}

// TestChanges: one service goes through all its forms, and nothing of a former one stays.
func TestChanges(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		empty := takeSnapshot(t).entries()
		sticky := newService("web", 10, tcp(80), udp(80))
		sticky.Spec.SessionAffinity = v1.ServiceAffinityClientIP
		seconds := int32(100)
		sticky.Spec.SessionAffinityConfig = &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{TimeoutSeconds: &seconds}}
		ranges := rich()
		ranges.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24", "2001:db8::/64"}
		forms := []*v1.Service{
			newService("web", 10, tcp(80)), rich(), sticky, ranges, newService("web", 10, udp(80), tcp(81)), newService("web", 12, tcp(80)),
			exposed(sticky, v1.ServiceExternalTrafficPolicyLocal), newService("web", 10, tcp(80)),
		}
		for i, s := range forms {
			w.set(t, s, ready("a", "b", "d")[:1+i%3]...)
			network := "tcp"
			if s.Spec.Ports[0].Protocol == v1.ProtocolUDP {
				network = "udp"
			}
			if got := w.ask(t, i%2, probe{from: "c", to: network + " web:80"}); !strings.HasSuffix(got, " from c") {
				t.Errorf("form %d: %q", i, got)
			}
			w.same(t, w.sync(t))
		}
		w.set(t, newService("web", 10, tcp(80)), ready("a")...)
		w.check(t, probe{"b", "tcp web:80", "a from b"}, probe{"outside", "tcp node:30080", space.Refused}, probe{"outside", "tcp lb:80", nothing})
		w.remove(t, "web")
		w.same(t, w.sync(t))
		equal(t, "without any service", empty, takeSnapshot(t).entries())

		w.set(t, rich(), ready("a", "d")...)
		delete(w.objects, "web") // while kedge is down
		w.wanted = w.compute()
		if n := w.restart(t); n == 0 {
			t.Error("after a restart, sync found nothing of a deleted service")
		}
		equal(t, "after a service was deleted while kedge was down", empty, takeSnapshot(t).entries())
	})
}

// TestStrictSources: with strict reverse path filtering, as many distributions have it, services work all the same.
func TestStrictSources(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		check(t, w.in["node"].Set("ipv4.conf.all.rp_filter", "1"))
		w.set(t, rich(), ready("a", "d")...)
		w.checkRich(t)
		w.check(t, probe{"a", "udp web:80", "a from node, d from a"}, probe{"node", "tcp lb:80", "a from node, d from node"})
	})
}

// TestSCTP: services of SCTP.
func TestSCTP(t *testing.T) {
	if err := space.HasSCTP(); err != nil {
		t.Skip("not in this kernel:", err)
	}
	inNode(t, func(w *world) {
		t := w.t
		for _, name := range []string{"a", "b", "d"} {
			w.serve("sctp", name, 8080)
		}
		s := balanced(exposed(newService("web", 10, port(v1.ProtocolSCTP, 80, 0)), v1.ServiceExternalTrafficPolicyLocal), "external", "lb")
		w.set(t, s, ready("a", "b", "d")...)
		w.check(
			t,
			probe{"a", "sctp web:80", "a from node, b from a, d from a"},
			probe{"c", "sctp web:80", "a from c, b from c, d from c"},
			probe{"node", "sctp web:80", "a from node, b from node, d from node"},
			probe{"outside", "sctp node:30080", "a from outside, b from outside"},
			probe{"outside", "sctp lb:80", "a from outside, b from outside"},
			probe{"c", "tcp web:80", space.Refused},
		)
		w.set(t, s)
		w.check(t, probe{"c", "sctp web:80", nothing})
	})
}
