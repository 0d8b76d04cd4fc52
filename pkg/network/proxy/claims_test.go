package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	upstream "k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/state"
)

// wish makes a Service of frontends such as "ClusterIP 10.43.0.1:80".
func wish(name string, frontends ...string) *state.Service {
	s := &state.Service{Key: state.Key{ServicePortName: upstream.ServicePortName{NamespacedName: types.NamespacedName{Namespace: "n", Name: name}}}, Protocol: 6}
	for _, text := range frontends {
		kind, at, _ := strings.Cut(text, " ")
		f := state.Frontend{Kind: map[string]state.Kind{"ClusterIP": 0, "ExternalIP": 1, "LoadBalancer": 2, "NodePort": 3}[kind]}
		if f.Kind == state.NodePort {
			_, _ = fmt.Sscan(at, &f.Port)
		} else {
			to := netip.MustParseAddrPort(at)
			f.Address, f.Port = to.Addr(), to.Port()
		}
		s.Frontends = append(s.Frontends, f)
	}
	return s
}

func TestClaims(t *testing.T) {
	c := newClaims()
	current := map[string]*state.Service{}
	steps := []struct {
		what    string
		name    string
		now     *state.Service
		touched string
		want    string
	}{
		{"alone", "b", wish("b", "ExternalIP 192.0.2.9:80", "NodePort 30080"), "", "b: ExternalIP 192.0.2.9:80, NodePort *:30080"},
		{"a name before it", "a", wish("a", "ExternalIP 192.0.2.9:80"), "n/b", "a: ExternalIP 192.0.2.9:80; b: NodePort *:30080"},
		{"a name after it", "c", wish("c", "ExternalIP 192.0.2.9:80", "ExternalIP 192.0.2.9:81"), "", "a: ExternalIP 192.0.2.9:80; b: NodePort *:30080; c: ExternalIP 192.0.2.9:81"},
		{"a load balancer", "d", wish("d", "LoadBalancer 192.0.2.9:80"), "n/a", "a: ; b: NodePort *:30080; c: ExternalIP 192.0.2.9:81; d: LoadBalancer 192.0.2.9:80"},
		{"a cluster IP", "e", wish("e", "ClusterIP 192.0.2.9:80"), "n/d", "a: ; b: NodePort *:30080; c: ExternalIP 192.0.2.9:81; d: ; e: ClusterIP 192.0.2.9:80"},
		{"a loser goes", "d", nil, "", "a: ; b: NodePort *:30080; c: ExternalIP 192.0.2.9:81; e: ClusterIP 192.0.2.9:80"},
		{"the holder goes", "e", nil, "n/a", "a: ExternalIP 192.0.2.9:80; b: NodePort *:30080; c: ExternalIP 192.0.2.9:81"},
		{"the holder changes", "a", wish("a", "ExternalIP 192.0.2.9:80", "ExternalIP 192.0.2.8:80"), "n/b", "a: ExternalIP 192.0.2.9:80, ExternalIP 192.0.2.8:80; b: NodePort *:30080; c: ExternalIP 192.0.2.9:81"},
		{"the holder leaves the spot", "a", wish("a", "ExternalIP 192.0.2.8:80"), "n/b", "a: ExternalIP 192.0.2.8:80; b: ExternalIP 192.0.2.9:80, NodePort *:30080; c: ExternalIP 192.0.2.9:81"},
	}
	for _, s := range steps {
		touched := map[string]bool{}
		for _, k := range c.replace(current[s.name], s.now) {
			touched[k.String()] = true
		}
		if current[s.name] = s.now; s.now == nil {
			delete(current, s.name)
		}
		for k := range strings.FieldsSeq(s.touched) {
			if !touched[k+" IPv4"] {
				t.Errorf("%s: %s is not told, only %v", s.what, k, touched)
			}
		}
		if diff := cmp.Diff(s.want, granted(c, current)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.what, diff)
		}
	}
	for name, s := range current {
		c.replace(s, nil)
		delete(current, name)
	}
	if len(c.holders) > 0 || len(c.losers) > 0 {
		t.Errorf("left behind: %v %v", c.holders, c.losers)
	}
}

func granted(c claims, services map[string]*state.Service) string {
	var lines []string
	for name, s := range services {
		var has []string
		for _, f := range c.granted(s).Frontends {
			text, _, _ := strings.Cut(f.String(), " ->")
			has = append(has, text)
		}
		lines = append(lines, name+": "+strings.Join(has, ", "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}
