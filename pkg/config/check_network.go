package config

import "net/netip"

// The size of the network of one node, which is taken from the cluster's.
const (
	NodePrefixIPv4 = 24
	NodePrefixIPv6 = 64
	// maxNodeBits bounds how many nodes' networks a cluster's may hold; the controller manager's allocator
	// refuses more.
	maxNodeBits = 16
)

func (r *resolution) checkNetworks() {
	r.checkPrefixes("cluster-cidr", r.ClusterCIDRs)
	r.checkPrefixes("service-cidr", r.ServiceCIDRs)
	r.checkNodeSpace()
	if !r.sound("cluster-cidr", "service-cidr") {
		return
	}
	r.checkPairs()
	r.checkOverlap()
	if !r.sound("cluster-cidr", "service-cidr") {
		return
	}
	r.checkDNS()
	r.checkNodeFamilies()
	r.checkNodeOutside()
	r.checkAdvertise()
}

// checkPrefixes allows one network for each family, and none that hosts use for themselves.
func (r *resolution) checkPrefixes(option string, prefixes []netip.Prefix) {
	if !r.sound(option) {
		return
	}
	if len(prefixes) == 0 {
		r.fail(option, 0, "needs at least one network")
		return
	}
	for i, p := range prefixes {
		for _, special := range specialNetworks() {
			if p.Overlaps(special) {
				r.fail(option, i, "%s overlaps %s, which is not for pods or services", p, special)
				break
			}
		}
		if i > 1 || i == 1 && p.Addr().Is6() == prefixes[0].Addr().Is6() {
			r.fail(option, i, "%s is a second %s network; give one IPv4 and one IPv6 network at most", p, family(p.Addr().Is6()))
			return
		}
	}
}

func specialNetworks() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::/127", "fe80::/10", "ff00::/8"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// checkNodeSpace wants room for at least one node, and not more than can be handed out.
func (r *resolution) checkNodeSpace() {
	if !r.sound("cluster-cidr") {
		return
	}
	for i, p := range r.ClusterCIDRs {
		node := NodePrefixIPv4
		if p.Addr().Is6() {
			node = NodePrefixIPv6
		}
		switch {
		case p.Bits() > node:
			r.fail("cluster-cidr", i, "%s has no room for a node, which takes a /%d of it; use a /%d or larger", p, node, node-8)
		case p.Bits() < node-maxNodeBits:
			r.fail("cluster-cidr", i, "%s is too large; use a /%d or smaller", p, node-maxNodeBits)
		}
	}
}

// checkPairs wants the same families, in the same order, for pods and services.
func (r *resolution) checkPairs() {
	for i := range max(len(r.ClusterCIDRs), len(r.ServiceCIDRs)) {
		switch {
		case i >= len(r.ServiceCIDRs):
			r.fail("cluster-cidr", i, "%s has no %s counterpart in service-cidr; add one, or remove it", r.ClusterCIDRs[i], family(r.ClusterCIDRs[i].Addr().Is6()))
		case i >= len(r.ClusterCIDRs):
			r.fail("service-cidr", i, "%s has no %s counterpart in cluster-cidr; add one, or remove it", r.ServiceCIDRs[i], family(r.ServiceCIDRs[i].Addr().Is6()))
		case r.ClusterCIDRs[i].Addr().Is6() != r.ServiceCIDRs[i].Addr().Is6():
			r.fail("cluster-cidr", i, "%s and %s are of different IP families; give both in the same order", r.ClusterCIDRs[i], r.about("service-cidr", i))
		}
	}
}

func (r *resolution) checkOverlap() {
	for i, c := range r.ClusterCIDRs {
		for j, s := range r.ServiceCIDRs {
			if c.Overlaps(s) {
				r.fail("cluster-cidr", i, "%s overlaps %s; pods and services need networks of their own", c, r.about("service-cidr", j))
			}
		}
	}
}

func (r *resolution) checkDNS() {
	if !r.sound("cluster-dns") {
		return
	}
	seen := map[bool]bool{}
	for i, a := range r.ClusterDNS {
		if seen[a.Is6()] {
			r.fail("cluster-dns", i, "%s is a second %s address; give one for each family", a, family(a.Is6()))
		}
		seen[a.Is6()] = true
		r.checkDNSAddress(i, a)
	}
}

func (r *resolution) checkDNSAddress(i int, a netip.Addr) {
	for j, p := range r.ServiceCIDRs {
		if !p.Contains(a) {
			continue
		}
		switch {
		case a == p.Addr():
			r.fail("cluster-dns", i, "%s is the address of the network %s itself; choose another of it", a, p)
		case a == p.Addr().Next():
			r.fail("cluster-dns", i, "%s is the first address of %s, which the API server takes; choose another of it", a, r.about("service-cidr", j))
		case isBroadcast(p, a):
			r.fail("cluster-dns", i, "%s is the last address of %s, which is never given out; choose another of it", a, r.about("service-cidr", j))
		}
		return
	}
	r.fail("cluster-dns", i, "%s is outside of %s", a, r.about("service-cidr", 0))
}
