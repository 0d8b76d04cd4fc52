package state_test

import (
	"cmp"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/proxy"
	"sigs.k8s.io/yaml"

	"kedge/pkg/network/proxy/state"
)

var update = flag.Bool("update", false, "write testdata anew") //nolint:gochecknoglobals // a flag of the test

// TestOf: each testdata/*.yaml holds Services and EndpointSlices, and *.txt what is wanted of them on the node "here".
func TestOf(t *testing.T) {
	node := state.Node{Name: "here", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	labels := map[string]string{corev1.LabelTopologyZone: "z1"}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("files %q, error %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			all := read(t, file).wanted(node, labels)
			if again := read(t, file).wanted(node, labels); !slices.EqualFunc(all, again, (*state.Service).Equal) {
				t.Error("the same objects give other wishes")
			}
			var b strings.Builder
			for _, s := range all {
				b.WriteString(s.String())
			}
			golden(t, "testdata/"+name+".txt", b.String())
		})
	}
}

func TestEqual(t *testing.T) {
	make1 := func() *state.Service {
		return &state.Service{Protocol: 6, Cluster: []state.Endpoint{{AddrPort: netip.MustParseAddrPort("10.42.0.5:80")}}, Frontends: []state.Frontend{
			{Address: netip.MustParseAddr("10.43.0.1"), Port: 80, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		}}
	}
	if !make1().Equal(make1()) || make1().Equal(nil) || !(*state.Service)(nil).Equal(nil) {
		t.Error("equal wishes are not equal, or one is equal to none")
	}
	for name, change := range map[string]func(*state.Service){
		"key":       func(s *state.Service) { s.Key.V6 = true },
		"protocol":  func(s *state.Service) { s.Protocol = 17 },
		"affinity":  func(s *state.Service) { s.Affinity = 1 },
		"scheduler": func(s *state.Service) { s.Scheduler = "lc" },
		"endpoints": func(s *state.Service) { s.Endpoints = true },
		"cluster":   func(s *state.Service) { s.Cluster[0].Local = true },
		"local":     func(s *state.Service) { s.Local = s.Cluster },
		"sources":   func(s *state.Service) { s.Frontends[0].Sources[0] = netip.MustParsePrefix("10.0.0.0/9") },
		"inside":    func(s *state.Service) { s.Frontends[0].Inside = state.Local },
		"outside":   func(s *state.Service) { s.Frontends[0].Outside = state.Local },
		"kind":      func(s *state.Service) { s.Frontends[0].Kind = state.NodePort },
		"source":    func(s *state.Service) { s.Frontends[0].KeepSource = true },
		"frontends": func(s *state.Service) { s.Frontends = nil },
	} {
		other := make1()
		change(other)
		if make1().Equal(other) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}

// objects of a cluster.
type objects struct {
	services []*corev1.Service
	slices   []*discoveryv1.EndpointSlice
}

func read(t *testing.T, file string) objects {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all objects
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(part), &meta); err != nil {
			t.Fatal(err)
		}
		var object any
		if meta.Kind == "Service" {
			all.services = append(all.services, &corev1.Service{})
			object = all.services[len(all.services)-1]
		} else {
			all.slices = append(all.slices, &discoveryv1.EndpointSlice{})
			object = all.slices[len(all.slices)-1]
		}
		if err := yaml.UnmarshalStrict([]byte(part), object); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, part)
		}
	}
	return all
}

// wanted takes the objects through upstream's trackers, as the proxy does.
func (o objects) wanted(node state.Node, labels map[string]string) []*state.Service {
	var all []*state.Service
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		services := proxy.NewServiceChangeTracker(family, state.NewPort, nil)
		for _, s := range o.services {
			services.Update(nil, s)
		}
		ports := proxy.ServicePortMap{}
		ports.Update(services)
		endpoints := proxy.NewEndpointsChangeTracker(family, node.Name, nil, nil)
		for _, s := range o.slices {
			endpoints.EndpointSliceUpdate(s, false)
		}
		addresses := proxy.EndpointsMap{}
		addresses.Update(endpoints)
		for name, port := range ports {
			all = append(all, state.Of(state.Key{ServicePortName: name, V6: family == corev1.IPv6Protocol}, port, addresses[name], node, labels))
		}
	}
	slices.SortFunc(all, func(a, b *state.Service) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return all
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got); -update accepts it:\n%s", file, diff)
	}
}
