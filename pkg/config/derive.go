package config

import (
	"net/netip"
	"slices"
	"strings"
)

// dnsOffset is the place of the DNS service in the service network, where users of Kubernetes expect it.
const dnsOffset = 10

// detect fills in what is found out about the machine.
func (r *resolution) detect(m Machine) {
	if r.NodeName == "" && r.sound("node-name") {
		name, err := m.Hostname()
		if err != nil {
			r.undetected("node-name", "the host name cannot be read: "+err.Error()+"; set --node-name")
		}
		r.NodeName = strings.ToLower(name)
		r.given["node-name"] = []item{{r.NodeName, Origin{kind: fromMachine}}}
	}
	if len(r.NodeIPs) == 0 && r.sound("node-ip", "cluster-cidr") {
		r.detectAddresses(m)
	}
}

// detectAddresses takes an address of each family that the cluster has.
func (r *resolution) detectAddresses(m Machine) {
	found, err := m.Addresses()
	if err != nil {
		r.undetected("node-ip", "the machine's addresses cannot be read: "+err.Error()+"; set --node-ip")
		return
	}
	r.given["node-ip"] = nil
	for _, is6 := range r.families(found) {
		for _, a := range found {
			if a.Is6() == is6 {
				r.NodeIPs = append(r.NodeIPs, a)
				r.given["node-ip"] = append(r.given["node-ip"], item{a.String(), Origin{kind: fromMachine}})
				break
			}
		}
	}
	if len(r.NodeIPs) < len(r.families(found)) || len(r.NodeIPs) == 0 {
		r.undetected("node-ip", "no usable "+familyNames(r.families(found))+" address on a network link that is up; give the machine an address or set --node-ip")
	}
}

// families lists the families of the cluster's networks, the primary first; true is IPv6. A machine that joins learns
// them later and takes what it has.
func (r *resolution) families(found []netip.Addr) []bool {
	var out []bool
	for _, p := range r.ClusterCIDRs {
		if is6 := p.Addr().Is6(); !slices.Contains(out, is6) {
			out = append(out, is6)
		}
	}
	if len(r.ClusterCIDRs) == 0 && len(found) > 0 {
		out = append(out, found[0].Is6())
	}
	return out
}

func familyNames(families []bool) string {
	var out []string
	for _, is6 := range families {
		out = append(out, family(is6))
	}
	return strings.Join(out, " and ")
}

func family(is6 bool) string {
	if is6 {
		return "IPv6"
	}
	return "IPv4"
}

func (r *resolution) undetected(option, text string) {
	r.bad[option] = true
	r.problems = append(r.problems, detectError{option + ": " + text})
}

// derive fills in what follows from other options.
func (r *resolution) derive() {
	if r.Role != RoleServer {
		return
	}
	if len(r.ClusterDNS) == 0 && r.sound("cluster-dns", "service-cidr") {
		r.deriveDNS()
	}
	if !r.AdvertiseAddress.IsValid() && r.sound("advertise-address", "node-ip") && len(r.NodeIPs) > 0 {
		r.AdvertiseAddress = r.NodeIPs[0]
		r.given["advertise-address"] = []item{{r.AdvertiseAddress.String(), r.origin("node-ip", 0)}}
	}
	if !r.BindAddress.IsValid() && r.sound("bind-address") {
		r.BindAddress = netip.IPv4Unspecified()
		if len(r.ServiceCIDRs) > 0 && r.ServiceCIDRs[0].Addr().Is6() {
			r.BindAddress = netip.IPv6Unspecified()
		}
	}
}

func (r *resolution) deriveDNS() {
	for i, p := range r.ServiceCIDRs {
		a := p.Addr()
		for range dnsOffset {
			a = a.Next()
		}
		if !p.Contains(a) || isBroadcast(p, a) {
			r.fail("service-cidr", i, "%s is too small for the DNS service, which takes its tenth address; use a /%d or larger, or set --cluster-dns", p, a.BitLen()-4)
			continue
		}
		r.ClusterDNS = append(r.ClusterDNS, a)
	}
}

// isBroadcast tells whether a is the last address of an IPv4 network, which is never given out.
func isBroadcast(p netip.Prefix, a netip.Addr) bool { return a.Is4() && !p.Contains(a.Next()) }
