package state

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/proxy"
)

// Of computes what is wanted for one port of a Service: its endpoints as the trackers of k8s.io/kubernetes/pkg/proxy have them,
// on a node with these topology labels. It depends on its arguments only.
func Of(key Key, port proxy.ServicePort, endpoints []proxy.Endpoint, node Node, labels map[string]string) *Service {
	cluster, local, _, some := proxy.CategorizeEndpoints(endpoints, port, node.Name, labels)
	s := &Service{
		Key: key, Protocol: protocol(port.Protocol()), Endpoints: some,
		Cluster: backends(cluster), Local: backends(local), Frontends: frontends(port, node),
	}
	if port.SessionAffinityType() == corev1.ServiceAffinityClientIP {
		s.Affinity = time.Duration(port.StickyMaxAgeSeconds()) * time.Second
	}
	if p, ok := port.(*Port); ok {
		s.Scheduler = p.Scheduler
	}
	return s
}

func protocol(p corev1.Protocol) uint8 {
	switch p {
	case corev1.ProtocolUDP:
		return unix.IPPROTO_UDP
	case corev1.ProtocolSCTP:
		return unix.IPPROTO_SCTP
	default:
		return unix.IPPROTO_TCP
	}
}

// backends turns endpoints into sorted addresses. The API server has checked them; what is no address is left out.
func backends(endpoints []proxy.Endpoint) []Endpoint {
	var out []Endpoint
	for _, e := range endpoints {
		if a, err := netip.ParseAddr(e.IP()); err == nil {
			out = append(out, Endpoint{netip.AddrPortFrom(a.Unmap(), uint16(e.Port())), e.IsLocal()})
		}
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return a.Compare(b.AddrPort) })
	return slices.CompactFunc(out, func(a, b Endpoint) bool { return a.AddrPort == b.AddrPort })
}

// frontends lists the addresses of a service port. An address that occurs twice counts as what stands first here.
func frontends(port proxy.ServicePort, node Node) []Frontend {
	internal := Cluster
	if port.InternalPolicyLocal() {
		internal = Local
	}
	// What comes from inside to an external address is not subject to the external policy: it is as if it had gone out to
	// the load balancer, which knows the nodes with endpoints.
	external := Frontend{Port: uint16(port.Port()), Inside: Cluster, Outside: Cluster}
	if port.ExternalPolicyLocal() {
		external.Outside, external.KeepSource = Local, true
	}
	all := addressed(nil, Frontend{Port: uint16(port.Port()), Kind: ClusterIP, Inside: internal, Outside: internal}, port.ClusterIP())
	for _, ip := range port.LoadBalancerVIPs() {
		balancer := external
		balancer.Kind, balancer.Sources = LoadBalancer, sources(port.LoadBalancerSourceRanges(), ip, node)
		all = addressed(all, balancer, ip)
	}
	external.Kind = ExternalIP
	all = addressed(all, external, port.ExternalIPs()...)
	if number := port.NodePort(); number != 0 {
		external.Kind, external.Port = NodePort, uint16(number)
		all = append(all, external)
	}
	slices.SortFunc(all, func(a, b Frontend) int {
		return netip.AddrPortFrom(a.Address, a.Port).Compare(netip.AddrPortFrom(b.Address, b.Port))
	})
	return all
}

// addressed appends the frontend with each of the addresses that is not there yet and can be a service's.
func addressed(all []Frontend, f Frontend, ips ...net.IP) []Frontend {
	for _, ip := range ips {
		a, ok := netip.AddrFromSlice(ip)
		f.Address = a.Unmap()
		known := slices.ContainsFunc(all, func(o Frontend) bool { return o.Address == f.Address })
		if ok && !known && !f.Address.IsUnspecified() && !f.Address.IsLoopback() && !f.Address.IsMulticast() {
			all = append(all, f)
		}
	}
	return all
}

// sources are the ranges that may connect to a load balancer's address. Where this node is allowed the address itself is too: the
// node's own connections have it as their source when it is local to the node.
func sources(ranges []*net.IPNet, ip net.IP, node Node) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range ranges {
		a, ok := netip.AddrFromSlice(r.IP)
		if !ok {
			continue
		}
		ones, _ := r.Mask.Size()
		p := netip.PrefixFrom(a.Unmap(), ones).Masked()
		out = append(out, p)
		if own, ok := netip.AddrFromSlice(ip); ok && slices.ContainsFunc(node.Addresses, p.Contains) {
			out = append(out, netip.PrefixFrom(own.Unmap(), own.Unmap().BitLen()))
		}
	}
	return disjoint(out)
}

// disjoint sorts prefixes and leaves out those that are part of another.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, comparePrefixes)
	out := prefixes[:0]
	for _, p := range prefixes {
		if len(out) == 0 || !out[len(out)-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
