package netns

import (
	"testing"

	"kedge/tests/netns/space"
)

// TestClusterIP: who gets which endpoint, and whom the endpoint takes for its client.
func TestClusterIP(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		w.set(t, newService("web", 10, tcp(80), udp(80), tcp(81)), ready("a", "b", "d")...)
		for _, network := range []string{"tcp ", "udp "} {
			w.check(
				t,
				probe{"a", network + "web:80", "a from node, b from a, d from a"},
				probe{"c", network + "web:80", "a from c, b from c, d from c"},
				probe{"node", network + "web:80", "a from node, b from node, d from node"},
				probe{"outside", network + "web:80", "a from node, b from node, d from node"},
			)
		}
		w.check(t, probe{"c", "tcp web:81", "a from c, b from c, d from c"})
		w.set(t, newService("web", 10, tcp(80)), ready("b")...)
		w.check(
			t,
			probe{"c", "tcp web:80", "b from c"},
			probe{"c", "tcp web:81", space.Refused},
			probe{"c", "udp web:80", space.Refused},
		)
		w.remove(t, "web")
		w.check(t, probe{"a", "tcp web:80", nothing}, probe{"node", "tcp web:80", nothing}, probe{"outside", "tcp web:80", nothing})
	})
}
