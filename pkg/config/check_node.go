package config

import (
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/kubelet/pkg/apis"
)

func (r *resolution) checkNode() {
	r.checkNodeName()
	r.checkNodeIPs()
	for i, l := range r.NodeLabels {
		r.checkLabel(i, l)
	}
	for i, t := range r.NodeTaints {
		r.checkTaint(i, t)
	}
	for i, a := range r.NodePortAddresses {
		r.checkNodePortAddress(i, a)
	}
}

// checkNodePortAddress wants a network, or one word alone.
func (r *resolution) checkNodePortAddress(i int, text string) {
	if text == PrimaryAddresses {
		if len(r.NodePortAddresses) > 1 {
			r.fail("nodeport-addresses", i, "%s stands alone, and there are other values", text)
		}
		return
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		r.fail("nodeport-addresses", i, "%q is neither a network such as 192.0.2.0/24 nor %s", text, PrimaryAddresses)
	case p.Addr().IsLoopback():
		r.fail("nodeport-addresses", i, "%s is of loopback addresses, which never answer node ports", p)
	}
}

// checkNodeName wants what Kubernetes takes as the name of a node and as the value of its hostname label.
func (r *resolution) checkNodeName() {
	if !r.sound("node-name") {
		return
	}
	why := ""
	if errs := validation.IsDNS1123Subdomain(r.NodeName); len(errs) > 0 {
		why = "is not a DNS name (a-z, 0-9, '-' and '.', beginning and ending with a letter or digit)"
	} else if len(r.NodeName) > validation.LabelValueMaxLength {
		why = "has more than 63 letters"
	}
	if why == "" {
		return
	}
	if r.origin("node-name", 0).kind == fromMachine {
		why = "is the machine's host name and " + why + "; set --node-name"
	}
	r.fail("node-name", 0, "%q %s", r.NodeName, why)
}

func (r *resolution) checkNodeIPs() {
	if !r.sound("node-ip") {
		return
	}
	seen := map[bool]bool{}
	for i, a := range r.NodeIPs {
		if why := unusable(a); why != "" {
			r.fail("node-ip", i, "%s %s; other machines have to reach this node at it", a, why)
		}
		if seen[a.Is6()] {
			r.fail("node-ip", i, "%s is a second %s address; give one for each family", a, family(a.Is6()))
		}
		seen[a.Is6()] = true
	}
}

// unusable says why an address cannot be the address of a machine.
func unusable(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "is a loopback address"
	case a.IsUnspecified():
		return "stands for all addresses"
	case a.IsMulticast():
		return "is a multicast address"
	case a.IsLinkLocalUnicast():
		return "is a link-local address"
	case !a.IsGlobalUnicast():
		return "is not the address of a machine"
	}
	return ""
}

// checkLabel wants key=value as Kubernetes has it, and no key that the API server forbids to nodes.
func (r *resolution) checkLabel(i int, label string) {
	key, value, ok := strings.Cut(label, "=")
	if !ok {
		r.fail("node-label", i, "%q is not key=value", label)
		return
	}
	if errs := validation.IsQualifiedName(key); len(errs) > 0 {
		r.fail("node-label", i, "%q: the key %q is not valid: %s", label, key, errs[0])
		return
	}
	if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
		r.fail("node-label", i, "%q: the value %q is not valid: %s", label, value, errs[0])
	}
	domain, _, _ := strings.Cut(key, "/")
	reserved := slices.ContainsFunc([]string{"kubernetes.io", "k8s.io"}, func(d string) bool {
		return strings.Contains(key, "/") && (domain == d || strings.HasSuffix(domain, "."+d))
	})
	if reserved && !apis.IsKubeletLabel(key) {
		r.fail("node-label", i, "%q: a node may not give itself labels of %s; use kedge kubectl label, or a key below node.kubernetes.io", label, domain)
	}
}

func (r *resolution) checkTaint(i int, taint string) {
	head, effect, ok := strings.Cut(taint, ":")
	if !ok {
		r.fail("node-taint", i, "%q is not key=value:effect", taint)
		return
	}
	effects := []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}
	if !slices.Contains(effects, effect) {
		r.fail("node-taint", i, "%q: the effect %q is not known%s", taint, effect, didYouMean(effect, effects, "want one of "+strings.Join(effects, ", ")))
	}
	key, value, _ := strings.Cut(head, "=")
	if errs := validation.IsQualifiedName(key); len(errs) > 0 {
		r.fail("node-taint", i, "%q: the key %q is not valid: %s", taint, key, errs[0])
		return
	}
	if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
		r.fail("node-taint", i, "%q: the value %q is not valid: %s", taint, value, errs[0])
	}
}

// checkNodeFamilies wants an address of the node for each network of the cluster, the primary first.
func (r *resolution) checkNodeFamilies() {
	if !r.sound("node-ip") {
		return
	}
	for i, p := range r.ClusterCIDRs {
		is6 := p.Addr().Is6()
		at := slices.IndexFunc(r.NodeIPs, func(a netip.Addr) bool { return a.Is6() == is6 })
		switch {
		case at < 0:
			r.fail("node-ip", 0, "no %s address is given, but there is %s", family(is6), r.about("cluster-cidr", i))
		case i == 0 && at != 0:
			r.fail("node-ip", 0, "%s comes first, but %s is %s; swap the addresses", r.NodeIPs[0], r.about("cluster-cidr", 0), family(is6))
		}
	}
}

func (r *resolution) checkNodeOutside() {
	if !r.sound("node-ip") {
		return
	}
	for i, a := range r.NodeIPs {
		for j, p := range r.ClusterCIDRs {
			if p.Contains(a) {
				r.fail("node-ip", i, "%s lies in %s; choose another network for pods", a, r.about("cluster-cidr", j))
			}
		}
		for j, p := range r.ServiceCIDRs {
			if p.Contains(a) {
				r.fail("node-ip", i, "%s lies in %s; choose another network for services", a, r.about("service-cidr", j))
			}
		}
	}
}
