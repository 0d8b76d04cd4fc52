package netns

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

// link is an open connection, and who answers on it.
type link struct {
	net.Conn
	name, answer string
}

// connect opens a connection of each family and asks on it.
func (w *world) connect(t *testing.T, from, to string) (links []link) {
	t.Helper()
	for v6 := range 2 {
		network, target := w.target(t, v6, to)
		conn := must(w.in[from].Dial(network, w.source(network, v6, from), target, answerLimit))(t)
		t.Cleanup(func() { _ = conn.Close() })
		l := link{Conn: conn, name: from + " to " + target}
		l.answer = space.AskOn(conn, answerLimit)
		links = append(links, l)
	}
	return links
}

// checkLinks asks on every connection again: the same server must answer.
func checkLinks(t *testing.T, when string, links []link) {
	t.Helper()
	for _, l := range links {
		if got := space.AskOn(l, answerLimit); got != l.answer {
			t.Errorf("%s, on the connection of %s: %q, want %q", when, l.name, got, l.answer)
		}
	}
}

// keepAsking opens connections without a break until the returned function is called; all must be answered. They come from a few
// ports only, each of which is used again while the kernel still remembers its last connection.
func (w *world) keepAsking(t *testing.T, from, to string) (stop func()) {
	t.Helper()
	end, failures := make(chan struct{}), map[string]int{}
	var wait sync.WaitGroup
	var mu sync.Mutex
	for v6 := range 2 {
		_, target := w.target(t, v6, to)
		first := w.ports.Add(fewPorts)
		wait.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for n := uint32(0); ; n++ {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				source := netip.AddrPortFrom(w.names[from][v6], uint16(firstPort+first+n%fewPorts))
				if failure := w.askOnce(from, source, target); failure != "" {
					mu.Lock()
					failures[target+" "+failure]++
					mu.Unlock()
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		close(end)
		wait.Wait()
		for what, n := range failures {
			t.Errorf("%s to %s: %d times", from, what, n)
		}
	})
}

// TestSurvive: whatever happens to the proxy and to other endpoints, connections stay, and new ones are answered all along.
func TestSurvive(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := balanced(exposed(newService("web", 10, tcp(80), udp(80)), v1.ServiceExternalTrafficPolicyLocal), "external", "lb")
		w.set(t, s, ready("a", "d")...)
		w.set(t, newService("other", 11, tcp(80)), ready("b")...)
		var links []link
		for _, from := range []string{"a", "b", "node", "outside"} {
			for range 4 {
				for _, to := range []string{"tcp web:80", "tcp node:30080", "tcp lb:80", "udp web:80"} {
					links = append(links, w.connect(t, from, to)...)
				}
			}
		}
		var stops []func()
		for _, from := range []string{"a", "node", "outside"} {
			stops = append(stops, w.keepAsking(t, from, "tcp web:80"), w.keepAsking(t, from, "tcp lb:80"))
		}
		steps := []struct {
			name string
			do   func()
		}{
			{"after a sync", func() { w.same(t, w.sync(t)) }},
			{"after a restart", func() { w.same(t, w.restart(t)) }},
			{"with another endpoint", func() { w.set(t, s, ready("a", "b", "d")...) }},
			{"with a service less", func() { w.remove(t, "other") }},
			{"with other endpoints less", func() { w.set(t, s, ready("a", "d")...) }},
			{"with another service", func() { w.set(t, newService("other", 12, tcp(80)), ready("b")...) }},
			{"after another restart", func() { w.same(t, w.restart(t)) }},
			{"with another port", func() {
				more := s.DeepCopy()
				more.Spec.Ports = append(more.Spec.Ports, port(v1.ProtocolTCP, 90, 30090))
				w.set(t, more, ready("a", "d")...)
			}},
		}
		for _, step := range steps {
			step.do()
			checkLinks(t, step.name, links)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

// same says that the proxy found nothing to repair.
func (w *world) same(t *testing.T, differences int) {
	t.Helper()
	if differences != 0 {
		t.Errorf("sync found %d differences, want none", differences)
	}
}

// TestDrain: an endpoint that is taken out of a service keeps its connections; new ones avoid it.
func TestDrain(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		s := exposed(newService("web", 10, tcp(80)), v1.ServiceExternalTrafficPolicyLocal)
		w.set(t, s, ready("a")...)
		var links []link
		for _, from := range []string{"b", "node", "outside"} {
			links = append(links, w.connect(t, from, "tcp web:80")...)
			links = append(links, w.connect(t, from, "tcp node:30080")...)
		}
		w.set(t, s, ready("b")...)
		w.check(t, probe{"c", "tcp web:80", "b from c"}, probe{"outside", "tcp node:30080", "b from outside"})
		checkLinks(t, "without its endpoint", links)
		w.sync(t)
		checkLinks(t, "without its endpoint, after a sync", links)
		w.restart(t)
		checkLinks(t, "without its endpoint, after a restart", links)
		w.check(t, probe{"c", "tcp web:80", "b from c"})
		w.set(t, s, ready("a", "b")...)
		w.check(t, probe{"c", "tcp web:80", "a from c, b from c"})
		checkLinks(t, "with its endpoint again", links)
		w.same(t, w.sync(t))
	})
}

// TestAffinity: a client stays with its endpoint for as long as the service says, also across a restart, and leaves one that is gone.
func TestAffinity(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		seconds, long := int32(2), int32(3600)
		s := exposed(newService("web", 10, tcp(80), udp(80)), v1.ServiceExternalTrafficPolicyCluster)
		s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = v1.ServiceAffinityClientIP, &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{TimeoutSeconds: &long}}
		w.set(t, s, ready("a", "b", "d")...)
		clients := []string{"c", "outside", "outside2", "far", "b"}
		targets := []string{"tcp web:80", "udp web:80", "tcp node:30080"}
		first := w.stuck(t, clients, targets)
		w.set(t, s, ready("a", "b", "d", "e")...)
		w.compareStuck(t, "with another endpoint", first, w.stuck(t, clients, targets))
		w.restart(t)
		w.compareStuck(t, "after a restart", first, w.stuck(t, clients, targets))
		w.set(t, s, ready("e")...)
		w.check(t, probe{"c", "tcp web:80", "e from c"}, probe{"outside", "udp node:30080", "e from node"})
		w.set(t, s, ready("a", "b", "e")...)
		w.check(t, probe{"c", "tcp web:80", "e from c"})

		if w.name == "ipvs" {
			return // it remembers a client as long as the client's last connection, which is minutes
		}
		brief := s.DeepCopy()
		brief.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds = &seconds
		w.set(t, brief, ready("a", "b", "d")...)
		before := w.stuck(t, clients, targets)
		expiry := time.NewTicker(time.Duration(seconds)*time.Second + 500*time.Millisecond)
		defer expiry.Stop()
		for round := 0; ; round++ {
			<-expiry.C
			now := w.stuck(t, clients, targets)
			for who, answer := range now {
				if before[who] != answer {
					return
				}
			}
			if round == 4 {
				t.Fatal("after the time limit every client still has the endpoint it had")
			}
		}
	})
}

// stuck asks ten times for every client; the answers must be one.
func (w *world) stuck(t *testing.T, clients, targets []string) map[string]string {
	t.Helper()
	answers := map[string]string{}
	for v6 := range 2 {
		for _, from := range clients {
			for _, to := range targets {
				if from == "far" && to == "tcp node:30080" {
					to = "tcp node3:30080"
				} else if from == "far" {
					continue // it does not know the way
				}
				network, target := w.target(t, v6, to)
				for range 10 {
					answer, who := w.readable(w.in[from].Ask(network, w.source(network, v6, from), target, answerLimit)), from+" to "+network+" "+target
					if had, ok := answers[who]; ok && had != answer {
						t.Errorf("%s: %q, and before %q", who, answer, had)
					}
					answers[who] = answer
				}
			}
		}
	}
	return answers
}

func (w *world) compareStuck(t *testing.T, when string, want, got map[string]string) {
	t.Helper()
	for who, answer := range want {
		if got[who] != answer {
			t.Errorf("%s, %s: %q, want %q", when, who, got[who], answer)
		}
	}
}
