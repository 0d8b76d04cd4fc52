package balancer

import (
	"net"
	"slices"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// The service whose endpoints are the API servers.
const (
	ServiceNamespace = "default"
	ServiceName      = "kubernetes"
)

// IsAPIServers tells whether a slice belongs to the service of the API servers.
func IsAPIServers(s *discoveryv1.EndpointSlice) bool {
	return s.Namespace == ServiceNamespace && s.Labels[discoveryv1.LabelServiceName] == ServiceName
}

// Endpoints returns host:port of every API server that slices name, sorted. A slice of another service counts for nothing.
func Endpoints(slicesOfService ...*discoveryv1.EndpointSlice) []string {
	var out []string
	for _, s := range slicesOfService {
		if !IsAPIServers(s) {
			continue
		}
		for _, port := range s.Ports {
			if port.Port == nil {
				continue
			}
			for _, endpoint := range s.Endpoints {
				if ready := endpoint.Conditions.Ready; ready != nil && !*ready {
					continue
				}
				for _, address := range endpoint.Addresses {
					out = append(out, net.JoinHostPort(address, strconv.Itoa(int(*port.Port))))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
