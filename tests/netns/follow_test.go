package netns

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

// TestFollow: the whole proxy follows the API server and the node's addresses, and a restart of it disturbs nothing.
func TestFollow(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		l := runProxy(t, w)
		web := rich()
		l.put(web, ready("a", "d")...)
		l.soon(
			t,
			probe{"c", "tcp web:80", "a from c, d from c"}, probe{"node", "udp web:80", "a from node, d from node"},
			probe{"outside", "tcp node2:30080", "a from outside"}, probe{"outside", "udp lb:80", "a from outside"},
		)
		w.names["late"] = pair("192.0.2.77 2001:db8::77")
		check(t, w.in["node"].AddAddresses("eth0", w.on("late")...))
		for _, a := range w.names["late"] {
			check(t, w.in["outside"].Neighbour("eth0", a, must(w.in["node"].MAC("eth0"))(t)))
		}
		l.soon(t, probe{"outside", "tcp late:30080", "a from outside"})
		for _, p := range w.on("late") {
			check(t, w.in["node"].DelAddress("eth0", p))
		}

		links := append(w.connect(t, "c", "tcp web:80"), w.connect(t, "outside", "tcp lb:80")...)
		stop := w.keepAsking(t, "outside", "tcp web:80")
		l.end()
		checkLinks(t, "without the proxy", links)
		l.start(t)
		checkLinks(t, "with a new proxy", links)
		l.put(web, ready("a", "b", "d")...)
		l.soon(t, probe{"c", "tcp web:80", "a from c, b from c, d from c"})
		checkLinks(t, "with another endpoint", links)
		stop()
		l.put(web)
		l.soon(t, probe{"c", "tcp web:80", space.Refused})
		l.delete("web")
		l.soon(t, probe{"c", "tcp web:80", nothing}, probe{"outside", "tcp node:30080", space.Refused})
	})
}

// TestUDPMoves: a client that keeps sending from one port moves on when its endpoint goes, wherever it is.
func TestUDPMoves(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		l := runProxy(t, w)
		dns := exposed(newService("dns", 10, udp(53)), v1.ServiceExternalTrafficPolicyLocal)
		dns.Spec.Ports[0].NodePort = 30053
		l.put(dns, ready("a")...)
		var links []link
		for from, to := range map[string]string{"c": "udp dns:53", "node": "udp dns:53", "outside": "udp node:30053"} {
			l.soon(t, probe{from, to, "a from " + from})
			links = append(links, w.connect(t, from, to)...)
		}
		l.put(dns, ready("b")...)
		for _, open := range links {
			err := within(10*time.Second, func() error {
				if answer := space.AskOn(open, dropLimit); answer[0] != 'b' {
					return fmt.Errorf("it is %q", answer)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s, after endpoint b took over from a: %v", open.name, err)
			}
		}
	})
}

// TestClaims: of two services that want the same address one has it, the other gets it when the first goes.
func TestClaims(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		l := runProxy(t, w)
		one, two := balanced(newService("one", 10, tcp(80)), "external", "lb"), balanced(newService("two", 11, tcp(80)), "external", "lb")
		for i := range two.Spec.Ports {
			two.Spec.Ports[i].NodePort = 31080
		}
		l.put(two, ready("b")...)
		l.soon(t, probe{"outside", "tcp lb:80", "b from node"}, probe{"outside", "tcp external:80", "b from node"})
		l.put(one, ready("a")...)
		l.soon(
			t,
			probe{"outside", "tcp lb:80", "a from node"}, probe{"outside", "tcp external:80", "a from node"},
			probe{"c", "tcp one:80", "a from c"}, probe{"c", "tcp two:80", "b from c"}, probe{"outside", "tcp node:31080", "b from node"},
		)
		l.delete("one")
		l.soon(t, probe{"outside", "tcp lb:80", "b from node"}, probe{"outside", "tcp external:80", "b from node"}, probe{"c", "tcp two:80", "b from c"})
	})
}

// TestHealthCheck: the health check node port tells load balancers whether the node has an endpoint.
func TestHealthCheck(t *testing.T) {
	inNode(t, func(w *world) {
		t := w.t
		l := runProxy(t, w)
		for _, step := range []struct {
			endpoints []endpoint
			want      int
		}{{ready("a", "d"), http.StatusOK}, {ready("d"), http.StatusServiceUnavailable}, {ready("b"), http.StatusOK}} {
			l.put(rich(), step.endpoints...)
			err := within(10*time.Second, func() error {
				if status, body := w.get(t, "outside", "node", 32000); status != step.want {
					return fmt.Errorf("status %d, want %d: %s", status, step.want, body)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// get asks over HTTP and returns 0 if there is no answer.
func (w *world) get(t *testing.T, from, to string, port uint16) (status int, body string) {
	t.Helper()
	at := netip.AddrPortFrom(w.names[to][0], port).String()
	conn, err := w.in[from].Dial("tcp", w.source("tcp", 0, from), at, answerLimit)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = conn.Close() }()
	return exchange(conn, at)
}

func exchange(conn io.ReadWriter, host string) (status int, body string) {
	request, err := http.NewRequest(http.MethodGet, "http://"+host+"/", nil)
	if err == nil {
		err = request.Write(conn)
	}
	if err != nil {
		return 0, err.Error()
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}
