package balancer

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestSpread: three servers get about a third of the nodes each, and one that goes moves its own nodes only.
func TestSpread(t *testing.T) {
	three := []string{"10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443"}
	counts := map[string]int{}
	for i := range 300 {
		node := fmt.Sprintf("node-%d", i)
		first := rank(node, three, "10.0.0.1:6443")[0]
		counts[first]++
		if first != three[2] {
			if got := rank(node, three[:2], "10.0.0.1:6443")[0]; got != first {
				t.Errorf("%s moves from %s to %s although its server stays", node, first, got)
			}
		}
	}
	for _, s := range three {
		if counts[s] < 75 || counts[s] > 125 {
			t.Errorf("nodes by server: %v", counts)
		}
	}
}

func TestRankSeed(t *testing.T) {
	got := rank("a", []string{"10.0.0.1:6443"}, "kube.example.com:6443")
	if diff := cmp.Diff([]string{"10.0.0.1:6443", "kube.example.com:6443"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if got := rank("a", nil, "10.0.0.1:6443"); len(got) != 1 {
		t.Errorf("order without endpoints: %v", got)
	}
}

func TestEndpoints(t *testing.T) {
	port, yes, no := int32(6443), true, false
	slice := func(namespace, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Ports:      []discoveryv1.EndpointPort{{Port: &port}},
			Endpoints:  endpoints,
		}
	}
	of := func(ready *bool, addresses ...string) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: addresses, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
	}
	got := Endpoints(
		slice("default", "kubernetes", of(&yes, "10.0.0.2", "10.0.0.1"), of(&no, "10.0.0.3"), of(nil, "2001:db8::1")),
		slice("default", "kubernetes", of(&yes, "10.0.0.1")),
		slice("default", "other", of(&yes, "10.0.0.8")),
		slice("user", "kubernetes", of(&yes, "10.0.0.9")),
	)
	if diff := cmp.Diff([]string{"10.0.0.1:6443", "10.0.0.2:6443", "[2001:db8::1]:6443"}, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

func TestRecall(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		`{"servers":["10.0.0.1:6443"]}`: "[10.0.0.1:6443] <nil>",
		`{}`:                            "[] <nil>",
		`{"servers":["10.0.0.1"]}`:      "[] decode FILE: address 10.0.0.1: missing port in address",
		"\x00\x00\x00":                  `[] decode FILE: invalid character '\x00' looking for beginning of value`,
	} {
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := recall(file)
		if text := strings.ReplaceAll(fmt.Sprint(got, " ", err), file, "FILE"); text != want {
			t.Errorf("recall of %q: %s, want %s", content, text, want)
		}
	}
	if got, err := recall(filepath.Join(dir, "missing")); got != nil || err != nil {
		t.Errorf("recall of nothing: %v, %v", got, err)
	}
}

// TestLimits: a single server that has two names is still a single server.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		known []string
		want  limits
	}{
		{nil, limitsOf(false, false)},
		{[]string{"10.0.0.1:6443"}, limitsOf(false, false)},
		{[]string{"10.0.0.1:6443", "10.0.0.2:6443"}, limitsOf(true, true)},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		upstream, err := connect(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b := New(Config{Seed: "kube.example.com:6443", Node: "a", File: filepath.Join(t.TempDir(), "f"), Log: discard()})
		b.SetServers(c.known)
		at := &link{client: upstream, upstream: upstream, server: b.servers[0]}
		b.attach(at)
		if at.limits != c.want {
			t.Errorf("limits with %v: %v, want %v", c.known, at.limits, c.want)
		}
		b.detach(at)
		_ = l.Close()
	}
}
