package proxy

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	upstream "k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/state"
)

// shards of the endpoint slices. A tracker looks at each of its services for every change: there are many trackers, so that a change
// at 10,000 services costs a look at 80.
const shards = 128

// family follows the services of one IP family. Its trackers may be told of objects from any goroutine.
type family struct {
	v6        bool
	services  *upstream.ServiceChangeTracker
	slices    [shards]*upstream.EndpointsChangeTracker // by service
	seed      maphash.Seed
	ports     upstream.ServicePortMap
	endpoints upstream.EndpointsMap
	dirty     map[upstream.ServicePortName]struct{} // filled by the trackers while maps are updated

	mu      sync.Mutex
	changed map[int]bool // shards that were told something
}

func newFamily(v6 bool, nodeName string) *family {
	f := &family{
		v6: v6, ports: upstream.ServicePortMap{}, endpoints: upstream.EndpointsMap{},
		dirty: map[upstream.ServicePortName]struct{}{}, seed: maphash.MakeSeed(), changed: map[int]bool{},
	}
	f.services = upstream.NewServiceChangeTracker(f.name(), state.NewPort, func(old, now upstream.ServicePortMap) { mark(f.dirty, old, now) })
	for i := range f.slices {
		f.slices[i] = upstream.NewEndpointsChangeTracker(f.name(), nodeName, nil, func(old, now upstream.EndpointsMap) { mark(f.dirty, old, now) })
	}
	return f
}

func mark[M ~map[upstream.ServicePortName]V, V any](dirty map[upstream.ServicePortName]struct{}, maps ...M) {
	for _, m := range maps {
		for name := range m {
			dirty[name] = struct{}{}
		}
	}
}

func (f *family) name() corev1.IPFamily {
	if f.v6 {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

func (f *family) key(name upstream.ServicePortName) state.Key {
	return state.Key{ServicePortName: name, V6: f.v6}
}

// service tells of a new, changed or deleted Service, and returns whether that matters here.
func (f *family) service(old, now *corev1.Service) bool { return f.services.Update(old, now) }

// slice tells of a new, changed or deleted EndpointSlice, and returns whether that matters here.
func (f *family) slice(s *discoveryv1.EndpointSlice, deleted bool) bool {
	shard := int(maphash.String(f.seed, s.Namespace+"/"+s.Labels[discoveryv1.LabelServiceName]) % shards)
	if !f.slices[shard].EndpointSliceUpdate(s, deleted) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed[shard] = true
	return true
}

// changedShards returns and forgets which shards were told something.
func (f *family) changedShards() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := slices.Collect(maps.Keys(f.changed))
	clear(f.changed)
	return changed
}

// touchAll makes the next checkout return every service port.
func (f *family) touchAll() { mark(f.dirty, f.ports) }

// checkout takes over what the trackers were told and returns the service ports that may have become different, and when the changes
// of their endpoints were triggered.
func (f *family) checkout() ([]upstream.ServicePortName, []time.Time) {
	f.ports.Update(f.services)
	var triggers []time.Time
	for _, shard := range f.changedShards() {
		for _, times := range f.endpoints.Update(f.slices[shard]).LastChangeTriggerTimes {
			triggers = append(triggers, times...)
		}
	}
	names := make([]upstream.ServicePortName, 0, len(f.dirty))
	for name := range f.dirty {
		names = append(names, name)
	}
	f.dirty = map[upstream.ServicePortName]struct{}{} // clearing one that was large once would stay expensive
	return names, triggers
}
