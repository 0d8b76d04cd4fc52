package netns

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/state"
)

// nodeName is the node of the tests to Kubernetes; zone is its topology label.
const (
	nodeName = "node"
	zone     = "zone-a"
)

// feed turns API objects into wishes, with the trackers that kedge's proxy uses, and hands the changes to the backend.
type feed struct {
	backend
	w       *world
	kernel  state.Backend
	node    state.Node
	objects map[string]object
	wanted  map[state.Key]*state.Service
}

// object is a Service with its EndpointSlices.
type object struct {
	service *v1.Service
	slices  []*discovery.EndpointSlice
}

// newFeed opens the backend with nothing wanted. What the test leaves is cleaned up, and what is left then is an error.
func newFeed(w *world, b backend) *feed {
	w.t.Helper()
	f := &feed{backend: b, w: w, objects: map[string]object{}, wanted: map[state.Key]*state.Service{}, node: w.asNode()}
	before := takeSnapshot(w.t)
	f.kernel = must(b.open(w.log))(w.t)
	f.sync(w.t)
	w.t.Cleanup(func() {
		check(w.t, f.kernel.Close())
		check(w.t, b.clean())
		before.compare(w.t, "after the clean-up")
	})
	return f
}

func (w *world) asNode() state.Node {
	n := state.Node{Name: nodeName, ClusterCIDRs: prefixes(clusterCIDRs), PodCIDRs: prefixes(nearCIDRs), ServiceCIDRs: prefixes(serviceCIDRs)}
	for v6 := range 2 {
		n.Addresses = append(n.Addresses, w.names["node"][v6])
		for _, name := range []string{"node", "node2", "node3"} {
			n.NodePortAddresses = append(n.NodePortAddresses, w.names[name][v6])
		}
	}
	slices.SortFunc(n.NodePortAddresses, netip.Addr.Compare)
	return n
}

// set creates or changes a service with its endpoints.
func (f *feed) set(t *testing.T, s *v1.Service, endpoints ...endpoint) {
	t.Helper()
	f.w.call(s)
	f.objects[s.Name] = object{s, f.w.slices(s, endpoints)}
	f.update(t)
}

func (f *feed) remove(t *testing.T, name string) {
	t.Helper()
	delete(f.objects, name)
	f.update(t)
}

// update hands over what is different from what was wanted before.
func (f *feed) update(t *testing.T) {
	t.Helper()
	next := f.compute()
	var changes []state.Change
	for key, old := range f.wanted {
		if !old.Equal(next[key]) {
			changes = append(changes, state.Change{Old: old, New: next[key]})
		}
	}
	for key, s := range next {
		if f.wanted[key] == nil {
			changes = append(changes, state.Change{New: s})
		}
	}
	f.wanted = next
	check(t, f.kernel.Update(changes))
}

// sync repairs the kernel and returns how much was different.
func (f *feed) sync(t *testing.T) int {
	t.Helper()
	return must(f.kernel.Sync(f.node, maps.Clone(f.wanted)))(t)
}

// restart ends the backend and begins with a new one, as kedge does when it is started again.
func (f *feed) restart(t *testing.T) (differences int) {
	t.Helper()
	check(t, f.kernel.Close())
	f.kernel = must(f.open(f.w.log))(t)
	return f.sync(t)
}

func (f *feed) compute() map[state.Key]*state.Service {
	all := map[state.Key]*state.Service{}
	for _, family := range []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol} {
		services := proxy.NewServiceChangeTracker(family, state.NewPort, nil)
		tracked := proxy.NewEndpointsChangeTracker(family, nodeName, nil, nil)
		for _, o := range f.objects {
			services.Update(nil, o.service)
			for _, s := range o.slices {
				tracked.EndpointSliceUpdate(s, false)
			}
		}
		ports, endpoints := proxy.ServicePortMap{}, proxy.EndpointsMap{}
		ports.Update(services)
		endpoints.Update(tracked)
		for name, port := range ports {
			key := state.Key{ServicePortName: name, V6: family == v1.IPv6Protocol}
			all[key] = state.Of(key, port, endpoints[name], f.node, map[string]string{v1.LabelTopologyZone: zone})
		}
	}
	return all
}
