package netns

import "testing"

// TestWorld: without any service everybody reaches whom they should.
func TestWorld(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		for _, network := range []string{"tcp ", "udp "} {
			w.check(
				t,
				probe{"a", network + "b:8080", "b from a"},
				probe{"a", network + "d:8080", "d from a"},
				probe{"d", network + "a:8080", "a from d"},
				probe{"node", network + "a:8080", "a from node"},
				probe{"node", network + "d:8080", "d from node"},
				probe{"outside", network + "a:8080", "unreachable"},
			)
		}
	})
}
