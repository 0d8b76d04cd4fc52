package ipvs

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/proxy/state"
)

// Names of what the package owns in the table.
const (
	prefix           = "svc-ipvs-"
	chainPrerouting  = prefix + "prerouting"
	chainOutput      = prefix + "output"
	chainEnd         = prefix + "end"
	chainPostrouting = prefix + "postrouting"
	chainNew         = prefix + "new"
	chainRoute       = prefix + "route"
	chainAnswer      = prefix + "answer"
	chainAnswers     = prefix + "answers"
	chainAnswersNode = prefix + "answers-node"
)

// Registers of the nftables virtual machine (linux/netfilter/nf_tables.h): keys begin in the first, single values are in the last.
const (
	keyRegister   = uint32(unix.NFT_REG32_00)
	valueRegister = uint32(unix.NFT_REG32_15)
)

// dnsPort is what the node serves itself on the addresses of state.Node.Own.
const dnsPort = 53

// ctNew is the bit of connections that have seen no answer (NF_CT_STATE_BIT(IP_CT_NEW)); ctRelated that of ICMP errors.
const (
	ctNew     = 1 << 3
	ctRelated = 1 << 2
)

// chains are all chains with their rules. They depend on the node alone; what services want is in the sets.
func chains(node state.Node, t timeouts) []nft.Chain {
	mangle, source, after := nftables.ChainPriorityMangle, nftables.ChainPriorityNATSource, nftables.ChainPriorityRef(priorityAnswers)
	all := classChains(node, t)
	return append(all,
		nft.Chain{Chain: nft.Regular(chainRoute), Rules: routeRules()},
		nft.Chain{Chain: nft.Regular(chainNew), Rules: newRules(node)},
		nft.Chain{Chain: nft.Regular(chainAnswer), Rules: answerRules()},
		nft.Chain{Chain: nft.Base(chainPrerouting, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, mangle), Rules: preroutingRules()},
		nft.Chain{Chain: nft.Base(chainOutput, nftables.ChainTypeFilter, nftables.ChainHookOutput, mangle), Rules: outputRules()},
		nft.Chain{Chain: nft.Base(chainEnd, nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityRef(priorityEnd)), Rules: endRules(node)},
		nft.Chain{Chain: nft.Base(chainPostrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, source), Rules: postroutingRules(node)},
		nft.Chain{Chain: nft.Base(chainAnswers, nftables.ChainTypeFilter, nftables.ChainHookPostrouting, after), Rules: answersOnly()},
		nft.Chain{Chain: nft.Base(chainAnswersNode, nftables.ChainTypeFilter, nftables.ChainHookInput, after), Rules: answersOnly()},
	)
}

// preroutingRules look at every packet that arrives. Only those to addresses that have to be made local are looked at again
// after the first of a connection.
func preroutingRules() []nft.Rule {
	var rules []nft.Rule
	for _, v6 := range families() {
		rules = append(rules, nft.Join(nft.Family(v6), load(address(v6, true)), in(setRouted, v6), nft.Jump(chainRoute)))
	}
	return append(rules, nft.Join(connState(ctNew), nft.Jump(chainNew)))
}

// outputRules look at what leaves the node, also when IPVS sends it on: of that has been decided already.
func outputRules() []nft.Rule {
	return []nft.Rule{nft.Join(connState(ctNew), lacksMark(markSeen), nft.Jump(chainNew))}
}

// routeRules mark what is to be delivered to the node: packets to entries, and ICMP errors about them.
func routeRules() []nft.Rule {
	rules := []nft.Rule{nft.Join(connState(ctRelated), addMark(markRoute), nft.Return())}
	for _, v6 := range families() {
		rules = append(rules, nft.Join(nft.Family(v6), loadEntry(v6), in(setPorts, v6), addMark(markRoute)))
	}
	return rules
}

// newRules decide on new connections to service addresses. What comes to a service address and is no service's is refused, so that
// it does not reach a process of the host; ICMP passes, for ping and for what conntrack does not know.
func newRules(node state.Node) []nft.Rule {
	var rules []nft.Rule
	for _, v6 := range families() {
		rules = append(rules,
			nft.Join(nft.Family(v6), loadEntry(v6), in(setGuarded, v6), load(append(entryParts(v6), address(v6, false))...), notIn(setSources, v6), nft.Drop()),
			nft.Join(nft.Family(v6), loadEntry(v6), verdictOf(setKnown, v6)),
		)
	}
	for _, own := range node.Own {
		for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			rules = append(rules, nft.Join(nft.Destination(nft.Single(own)), nft.Port(protocol, dnsPort), accept()))
		}
	}
	for _, protocol := range []uint8{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		rules = append(rules, nft.Join(isProtocol(protocol), accept()))
	}
	for _, v6 := range families() {
		stray := nft.Join(nft.Family(v6), load(address(v6, true)), in(setRouted, v6), fromNode(), intoLoopback())
		rules = append(rules, nft.Join(stray, addMark(markRefuse), accept()))
	}
	for _, cidr := range node.ServiceCIDRs {
		to := nft.Destination(cidr)
		drop := nft.Join(nft.Destination(nft.Single(cidr.Masked().Addr())), toPort(portDrop), nft.Drop())
		rules = append(append(rules, nft.Join(to, fromNode(), addMark(markRefuse), accept()), drop), rejectRules(to)...)
	}
	return rules
}

// The node's own connections that are to fail go to the first address of the service network, which is no service's, and fail when they
// come back: ended where they leave, a UDP socket would be told EPERM.
const (
	portRefuse = 1
	portDrop   = 2
	// priorityEnd is before IPVS looks, and before the pod network translates.
	priorityEnd = -101
)

func endRules(node state.Node) []nft.Rule {
	var rules []nft.Rule
	for _, cidr := range node.ServiceCIDRs {
		first, family := cidr.Masked().Addr(), nft.Family(cidr.Addr().Is6())
		rules = append(rules,
			nft.Join(family, hasMark(markRefuse), nft.DNAT(netip.AddrPortFrom(first, portRefuse))),
			nft.Join(family, hasMark(markDrop), nft.DNAT(netip.AddrPortFrom(first, portDrop))))
	}
	return rules
}

// postroutingRules replace source addresses. What stays on the node keeps its own.
func postroutingRules(node state.Node) []nft.Rule {
	rules := []nft.Rule{nft.Join(intoLoopback(), accept())}
	for _, cidr := range node.ServiceCIDRs {
		rules = append(rules, nft.Join(nft.Source(cidr), nft.MasqueradeRandom())) // the node's own, bound to no address
	}
	rules = append(rules, nft.Join(hasMark(markMasquerade), nft.MasqueradeRandom()))
	for _, v6 := range families() {
		pair := load(address(v6, true), address(v6, true))
		rules = append(rules, nft.Join(nft.Family(v6), hasMark(markPassing), pair, notIn(setSelf, v6), nft.MasqueradeRandom()))
	}
	for _, v6 := range families() {
		pair := load(address(v6, false), address(v6, true))
		rules = append(rules, nft.Join(nft.Family(v6), pair, in(setSelf, v6), nft.MasqueradeRandom())) // a pod reaches itself
	}
	return rules
}

// classChains are the chains that the map of entries leads to, one for each pair of actions that can come together.
func classChains(node state.Node, t timeouts) []nft.Chain {
	own := nft.Join(fromNode(), intoLoopback(), addMark(markRefuse), accept())
	all := []nft.Chain{{Chain: nft.Regular(chainName(refuse, refuse)), Rules: append([]nft.Rule{own}, act(nil, refuse)...)}}
	for _, inside := range []action{serve, drop} {
		for _, outside := range []action{serve, masquerade, divert, drop} {
			c := nft.Chain{Chain: nft.Regular(chainName(inside, outside)), Rules: append([]nft.Rule{addMark(markSeen)}, t.apply()...)}
			c.Rules = append(append(c.Rules, insideRules(node, inside)...), act(nil, outside)...)
			all = append(all, c)
		}
	}
	return all
}

// insideRules are for connections of the node itself and of pods.
func insideRules(node state.Node, inside action) []nft.Rule {
	passing := inside
	if inside == serve {
		passing = servePassing
	}
	var rules []nft.Rule
	if inside == drop {
		rules = append(rules, nft.Join(fromNode(), intoLoopback(), addMark(markDrop), accept()))
	}
	rules = append(rules, act(fromNode(), passing)...)
	for _, cidr := range node.PodCIDRs {
		rules = append(rules, act(nft.Source(cidr), inside)...)
	}
	far := passing
	if len(node.PodCIDRs) == 0 {
		far = inside
	}
	for _, cidr := range node.ClusterCIDRs {
		rules = append(rules, act(nft.Source(cidr), far)...)
	}
	return rules
}

// servePassing is serve for connections that an endpoint elsewhere would answer past the node: its own, and those of
// other nodes' pods, which come for a node port.
const servePassing = drop + 1

func chainName(inside, outside action) string {
	names := []string{serve: "serve", masquerade: "masquerade", divert: "divert", refuse: "refuse", drop: "drop"}
	return prefix + "in-" + names[inside] + "-out-" + names[outside]
}

// act is what happens to connections that match.
func act(match nft.Rule, a action) []nft.Rule {
	switch a {
	case refuse:
		return rejectRules(match)
	case drop:
		return []nft.Rule{nft.Join(match, nft.Drop())}
	case masquerade:
		return []nft.Rule{nft.Join(match, addMark(markMasquerade), accept())}
	case servePassing:
		return []nft.Rule{nft.Join(match, addMark(markPassing), accept())}
	case divert:
		var rules []nft.Rule
		for _, v6 := range families() {
			rules = append(rules, nft.Join(match, nft.Family(v6), loadEntry(v6), setMarkFrom(setMarks, v6), accept()))
		}
		return rules
	}
	return []nft.Rule{nft.Join(match, accept())}
}

// rejectRules refuse at once: TCP with a reset, the others with an ICMP error.
func rejectRules(match nft.Rule) []nft.Rule {
	reset := nft.Rule{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
	unreachable := nft.Rule{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}
	return []nft.Rule{nft.Join(match, isProtocol(unix.IPPROTO_TCP), reset), nft.Join(match, unreachable)}
}

func markBytes(mark uint32) []byte { return binary.NativeEndian.AppendUint32(nil, mark) }
