package netns

import (
	"fmt"
	"net/netip"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// newService has cluster IPs 10.43.0.N and fd00:43::N.
func newService(name string, n int, ports ...v1.ServicePort) *v1.Service {
	policy, dual, cluster := v1.ServiceInternalTrafficPolicyCluster, v1.IPFamilyPolicyRequireDualStack, fmt.Sprintf("10.43.0.%d", n)
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeClusterIP, ClusterIP: cluster, ClusterIPs: []string{cluster, fmt.Sprintf("fd00:43::%x", n)},
			IPFamilies: []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol}, IPFamilyPolicy: &dual, InternalTrafficPolicy: &policy, Ports: ports,
			SessionAffinity: v1.ServiceAffinityNone,
		},
	}
}

// call lets probes use the service's name for its cluster addresses.
func (w *world) call(s *v1.Service) {
	w.names[s.Name] = [2]netip.Addr{netip.MustParseAddr(s.Spec.ClusterIPs[0]), netip.MustParseAddr(s.Spec.ClusterIPs[1])}
}

// port is one of a service, to port 8080 of the endpoints. nodePort is 0 for a service that has none.
func port(protocol v1.Protocol, port, nodePort int32) v1.ServicePort {
	return v1.ServicePort{
		Name: fmt.Sprintf("%s-%d", protocol, port), Protocol: protocol, Port: port, TargetPort: intstr.FromInt32(8080), NodePort: nodePort,
	}
}

func tcp(number int32) v1.ServicePort { return port(v1.ProtocolTCP, number, 0) }
func udp(number int32) v1.ServicePort { return port(v1.ProtocolUDP, number, 0) }

// exposed gives a service node ports: 30000 and the port, unless it has one.
func exposed(s *v1.Service, policy v1.ServiceExternalTrafficPolicy) *v1.Service {
	s = s.DeepCopy()
	s.Spec.Type, s.Spec.ExternalTrafficPolicy = v1.ServiceTypeNodePort, policy
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].NodePort = 30000 + s.Spec.Ports[i].Port
	}
	return s
}

// balanced gives a service external addresses and those of a load balancer.
func balanced(s *v1.Service, external, balancer string) *v1.Service {
	s = s.DeepCopy()
	if s.Spec.Type == v1.ServiceTypeClusterIP {
		s = exposed(s, v1.ServiceExternalTrafficPolicyCluster)
	}
	s.Spec.Type = v1.ServiceTypeLoadBalancer
	if s.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal {
		s.Spec.HealthCheckNodePort = 32000
	}
	s.Spec.ExternalIPs = strings.Fields(places()[external])
	mode := v1.LoadBalancerIPModeVIP
	for a := range strings.FieldsSeq(places()[balancer]) {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, v1.LoadBalancerIngress{IP: a, IPMode: &mode})
	}
	return s
}

// endpoint is a name that serves, and its condition.
type endpoint struct {
	name        string
	node        string // "" is the node where the name is
	port        int32  // 0 is the service's target port
	unready     bool
	terminating bool // serving, unless it is unready as well
	published   bool // called ready whatever it is
	hints       *discovery.EndpointHints
}

func ready(names ...string) (all []endpoint) {
	for _, name := range names {
		all = append(all, endpoint{name: name})
	}
	return all
}

// slices are the EndpointSlices of a service, one for each family.
func (w *world) slices(s *v1.Service, endpoints []endpoint) (all []*discovery.EndpointSlice) {
	for v6, family := range []discovery.AddressType{discovery.AddressTypeIPv4, discovery.AddressTypeIPv6} {
		byPort := map[int32]*discovery.EndpointSlice{}
		for _, e := range endpoints {
			if byPort[e.port] == nil {
				byPort[e.port] = newSlice(s, family, e.port)
				all = append(all, byPort[e.port])
			}
			byPort[e.port].Endpoints = append(byPort[e.port].Endpoints, w.apiEndpoint(e, v6))
		}
	}
	return all
}

func newSlice(s *v1.Service, family discovery.AddressType, target int32) *discovery.EndpointSlice {
	slice := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: fmt.Sprintf("%s-%s-%d", s.Name, family, target), Labels: map[string]string{discovery.LabelServiceName: s.Name},
		},
		AddressType: family,
	}
	for _, p := range s.Spec.Ports {
		number := p.TargetPort.IntVal
		if target != 0 {
			number = target
		}
		slice.Ports = append(slice.Ports, discovery.EndpointPort{Name: &p.Name, Protocol: &p.Protocol, Port: &number})
	}
	return slice
}

func (w *world) apiEndpoint(e endpoint, v6 int) discovery.Endpoint {
	node := e.node
	if node == "" {
		node = nodeName
		if w.in[e.name] == w.in["far"] {
			node = "far"
		}
	}
	ready, serving, terminating := e.published || (!e.unready && !e.terminating), !e.unready, e.terminating
	return discovery.Endpoint{
		Addresses: []string{w.names[e.name][v6].String()}, NodeName: &node, Hints: e.hints,
		Conditions: discovery.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
	}
}
