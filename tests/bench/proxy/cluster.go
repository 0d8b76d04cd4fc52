package main

import (
	"fmt"
	"net/netip"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kedge/tests/netns/api"
)

// The addresses of the measured cluster. Pods have 10.42.0.0/16, the last of which are the client and who answers for all others.
const (
	nodeName     = "node"
	podCIDR      = "10.42.0.0/16"
	answeredCIDR = "10.42.0.0/17" // the pods that answer
	serviceCIDR  = "10.43.0.0/16"
	clientIP     = "10.42.255.2"
	answererIP   = "10.42.255.3"
	nodeIP       = "192.0.2.1"
	nodePeerIP   = "192.0.2.2"
	podPort      = 8080
	servicePort  = 80
	endpointsPer = 5
	probes       = 16 // services with a single endpoint, which changes
)

// address is the n-th of a network.
func address(network string, n int) netip.Addr {
	base := netip.MustParsePrefix(network).Addr().As4()
	base[2], base[3] = byte(n>>8), byte(n)
	return netip.AddrFrom4(base)
}

func clusterIP(service int) netip.Addr { return address(serviceCIDR, service+1) }

// endpointIP spreads endpoints over a quarter of the pod addresses.
func endpointIP(service, n int) netip.Addr {
	return address(podCIDR, (service*endpointsPer+n)%16000+256)
}

// markerIP is the single endpoint of a probe after a change.
func markerIP(change int) netip.Addr { return address(podCIDR, 0x4000+change) }

// probeService is the number of a probe.
func (p plan) probeService(n int) int { return p.Services + n%probes }

func newService(number int) *v1.Service {
	ip, policy, single := clusterIP(number).String(), v1.ServiceInternalTrafficPolicyCluster, v1.IPFamilyPolicySingleStack
	return &v1.Service{
		ObjectMeta: named(fmt.Sprintf("service-%d", number)),
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip}, IPFamilies: []v1.IPFamily{v1.IPv4Protocol},
			IPFamilyPolicy: &single, InternalTrafficPolicy: &policy, SessionAffinity: v1.ServiceAffinityNone,
			Selector: map[string]string{"app": fmt.Sprintf("app-%d", number)},
			Ports:    []v1.ServicePort{{Name: "http", Protocol: v1.ProtocolTCP, Port: servicePort, TargetPort: intstr.FromInt32(podPort)}},
		},
	}
}

func newSlice(number int, addresses ...netip.Addr) *discovery.EndpointSlice {
	name, protocol, target, yes, no, node := "http", v1.ProtocolTCP, int32(podPort), true, false, nodeName
	slice := &discovery.EndpointSlice{
		ObjectMeta: named(fmt.Sprintf("service-%d-x", number)), AddressType: discovery.AddressTypeIPv4,
		Ports: []discovery.EndpointPort{{Name: &name, Protocol: &protocol, Port: &target}},
	}
	slice.Labels = map[string]string{discovery.LabelServiceName: fmt.Sprintf("service-%d", number), discovery.LabelManagedBy: "endpointslice-controller.k8s.io"}
	for _, a := range addresses {
		pod := v1.ObjectReference{Kind: "Pod", Namespace: "default", Name: fmt.Sprintf("app-%d-%s", number, a)}
		slice.Endpoints = append(slice.Endpoints, discovery.Endpoint{
			Addresses: []string{a.String()}, NodeName: &node, TargetRef: &pod,
			Conditions: discovery.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
		})
	}
	return slice
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "default", Name: name, UID: "00000000-0000-0000-0000-000000000000"}
}

func newNode() *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, UID: "00000000-0000-0000-0000-000000000001"},
		Spec:       v1.NodeSpec{PodCIDR: podCIDR, PodCIDRs: []string{podCIDR}},
		Status:     v1.NodeStatus{Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: nodeIP}}},
	}
}

// populate fills the API server before the proxy starts.
func (p plan) populate(s *api.Server) {
	s.Put(newNode())
	s.Put(&networking.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networking.ServiceCIDRSpec{CIDRs: []string{serviceCIDR}}})
	for n := range p.Services {
		var endpoints []netip.Addr
		for e := range endpointsPer {
			endpoints = append(endpoints, endpointIP(n, e))
		}
		s.Put(newService(n))
		s.Put(newSlice(n, endpoints...))
	}
	for n := range probes {
		s.Put(newService(p.probeService(n)))
		s.Put(newSlice(p.probeService(n), markerIP(n)))
	}
}
