package cni

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"kedge/pkg/network/nft"
)

// Names of what the package owns in the table.
const (
	rulePrefix       = "pod-"
	chainGuard       = rulePrefix + "guard"
	chainPorts       = rulePrefix + "ports"
	chainRedirect    = rulePrefix + "redirect"
	chainPrerouting  = rulePrefix + "prerouting"
	chainOutput      = rulePrefix + "output"
	chainPostrouting = rulePrefix + "postrouting"
)

// ruleInput is everything the rules depend on, host ports aside.
type ruleInput struct {
	podCIDRs     []netip.Prefix
	clusterCIDRs []netip.Prefix
	services     []ServiceVIP
	own          []netip.Addr // what kedge added to lo
}

// plan computes all rules; the elements of the sets are added by the firewall.
func (in ruleInput) plan() nft.Plan {
	return nft.Plan{
		Prefix: rulePrefix,
		Chains: []nft.Chain{
			{Chain: base(chainGuard, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw), Rules: guardRules()},
			{Chain: nft.Regular(chainPorts), Rules: portRules()},
			{Chain: nft.Regular(chainRedirect), Rules: in.redirectRules()},
			{Chain: base(chainPrerouting, nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest), Rules: []nft.Rule{nft.Jump(chainRedirect)}},
			{Chain: base(chainOutput, nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest), Rules: []nft.Rule{nft.Jump(chainRedirect)}},
			{Chain: base(chainPostrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource), Rules: in.masqueradeRules()},
		},
	}
}

func base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return nft.Base(name, kind, hook, priority)
}

// guardRules drop what no pod may send now that route_localnet lets it in: packets to or from the host's 127.0.0.0/8.
// They come before translation, so that answers to the host's own connections, which get such an address back later, pass.
func guardRules() []nft.Rule {
	return []nft.Rule{
		nft.Join(nft.From(linkPrefix), nft.Destination(loopbackNet()), nft.Drop()),
		nft.Join(nft.From(linkPrefix), nft.Source(loopbackNet()), nft.Drop()),
	}
}

// redirectRules translate destinations: service addresses first, then host ports on the host's own addresses, but not on
// those that kedge added for services.
func (in ruleInput) redirectRules() []nft.Rule {
	var rules []nft.Rule
	for _, s := range in.services {
		number, err := protocolNumber(s.Protocol)
		if err != nil {
			continue // Config was validated
		}
		rules = append(rules, nft.Join(nft.Destination(nft.Single(s.Address.Addr())), nft.Port(number, s.Address.Port()), nft.DNAT(s.Target)))
	}
	for _, a := range in.own {
		rules = append(rules, nft.Join(nft.Destination(nft.Single(a)), nft.Return()))
	}
	return append(rules, nft.Join(nft.ToLocal(), nft.Jump(chainPorts)))
}

func portRules() []nft.Rule {
	var rules []nft.Rule
	for _, m := range portMaps() {
		rules = append(rules, m.Rule())
	}
	return rules
}

// masqueradeRules give a source that can be answered to: to a pod that reaches itself through the host, to the host's connections
// from an address that means nothing elsewhere, and to pods that leave the cluster.
func (in ruleInput) masqueradeRules() []nft.Rule {
	var rules []nft.Rule
	for _, s := range hairpins() {
		rules = append(rules, nft.Join(s.Match(), nft.Masquerade()))
	}
	rules = append(rules, nft.Join(nft.Source(loopbackNet()), nft.NotInto(loopback), nft.Masquerade()))
	for _, a := range in.own {
		rules = append(rules, nft.Join(nft.Source(nft.Single(a)), nft.NotInto(loopback), nft.Masquerade()))
	}
	for _, p := range in.inside() {
		rules = append(rules, nft.Join(nft.Destination(p), nft.Return()))
	}
	for _, p := range in.podCIDRs {
		rules = append(rules, nft.Join(nft.Source(p), nft.MasqueradeRandom()))
	}
	return rules
}

// inside is where pods go with their own address: the cluster, and what routers do not forward anyway.
func (in ruleInput) inside() []netip.Prefix {
	var v6 bool
	all := slices.Clone(in.clusterCIDRs)
	for _, p := range in.podCIDRs {
		v6 = v6 || p.Addr().Is6()
		if !slices.ContainsFunc(all, func(c netip.Prefix) bool { return c.Contains(p.Addr()) && c.Bits() <= p.Bits() }) {
			all = append(all, p)
		}
	}
	all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4))
	if v6 {
		all = append(all, netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8))
	}
	return all
}

func loopbackNet() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }
