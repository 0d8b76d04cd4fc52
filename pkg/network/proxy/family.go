package proxy

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	upstream "k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/state"
)

// family follows the services of one IP family. Its trackers may be told of objects from any goroutine.
type family struct {
	v6        bool
	services  *upstream.ServiceChangeTracker
	slices    *upstream.EndpointsChangeTracker
	ports     upstream.ServicePortMap
	endpoints upstream.EndpointsMap
	dirty     map[upstream.ServicePortName]struct{} // filled by the trackers while maps are updated
}

func newFamily(v6 bool, nodeName string) *family {
	f := &family{
		v6: v6, ports: upstream.ServicePortMap{}, endpoints: upstream.EndpointsMap{},
		dirty: map[upstream.ServicePortName]struct{}{},
	}
	f.services = upstream.NewServiceChangeTracker(f.name(), state.NewPort, func(old, now upstream.ServicePortMap) { mark(f.dirty, old, now) })
	f.slices = upstream.NewEndpointsChangeTracker(f.name(), nodeName, nil, func(old, now upstream.EndpointsMap) { mark(f.dirty, old, now) })
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
	return f.slices.EndpointSliceUpdate(s, deleted)
}

// touchAll makes the next checkout return every service port.
func (f *family) touchAll() { mark(f.dirty, f.ports) }

// checkout takes over what the trackers were told and returns the service ports that may have become different, and when the changes
// of their endpoints were triggered.
func (f *family) checkout() ([]upstream.ServicePortName, []time.Time) {
	f.ports.Update(f.services)
	result := f.endpoints.Update(f.slices)
	names := make([]upstream.ServicePortName, 0, len(f.dirty))
	for name := range f.dirty {
		names = append(names, name)
	}
	clear(f.dirty)
	var triggers []time.Time
	for _, times := range result.LastChangeTriggerTimes {
		triggers = slices.Concat(triggers, times)
	}
	return names, triggers
}
