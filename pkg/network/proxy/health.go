package proxy

import (
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	upstream "k8s.io/kubernetes/pkg/proxy"
	"k8s.io/kubernetes/pkg/proxy/healthcheck"
	proxyutil "k8s.io/kubernetes/pkg/proxy/util"
)

// health answers on the health check node ports of one family: how many ready endpoints of a Service are on this node.
type health struct {
	family *family
	server healthcheck.ServiceHealthServer
	known  map[upstream.ServicePortName]uint16 // service ports of Services that have such a port
	ports  map[types.NamespacedName]uint16
}

func newHealth(f *family, nodeName string, cidrs []string, proxyHealth *proxyHealth) *health {
	return &health{
		family: f, known: map[upstream.ServicePortName]uint16{}, ports: map[types.NamespacedName]uint16{},
		server: healthcheck.NewServiceHealthServer(nodeName, nil, proxyutil.NewNodePortAddresses(f.name(), cidrs), proxyHealth, f.name()),
	}
}

// update brings listeners and counts up to date after these service ports may have changed.
func (h *health) update(touched []upstream.ServicePortName) error {
	relevant := false
	for _, name := range touched {
		_, had := h.known[name]
		delete(h.known, name)
		if port, ok := h.family.ports[name]; ok && port.HealthCheckNodePort() != 0 {
			h.known[name] = uint16(port.HealthCheckNodePort())
		}
		_, has := h.known[name]
		relevant = relevant || had || has
	}
	if !relevant {
		return nil
	}
	ports := map[types.NamespacedName]uint16{}
	for name, port := range h.known {
		ports[name.NamespacedName] = port
	}
	if !maps.Equal(ports, h.ports) {
		if err := h.server.SyncServices(ports); err != nil {
			return fmt.Errorf("open health check node ports: %w", err)
		}
		h.ports = ports
	}
	if err := h.server.SyncEndpoints(h.counts()); err != nil {
		return fmt.Errorf("count endpoints for health check node ports: %w", err)
	}
	return nil
}

// counts are the numbers of ready pods on this node, however many ports they have.
func (h *health) counts() map[types.NamespacedName]int {
	pods := map[types.NamespacedName]sets.Set[string]{}
	for name := range h.known {
		for _, e := range h.family.endpoints[name] {
			if !e.IsLocal() || !e.IsReady() {
				continue
			}
			if pods[name.NamespacedName] == nil {
				pods[name.NamespacedName] = sets.New[string]()
			}
			pods[name.NamespacedName].Insert(e.IP())
		}
	}
	counts := map[types.NamespacedName]int{}
	for name, ips := range pods {
		counts[name] = len(ips)
	}
	return counts
}

// close ends all listeners.
func (h *health) close() error {
	if err := h.server.SyncServices(nil); err != nil {
		return fmt.Errorf("close health check node ports: %w", err)
	}
	return nil
}
