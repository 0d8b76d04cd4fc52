package nftables

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/nft/wire"
	"kedge/pkg/network/proxy/state"
)

// Mark is the bit of the packet mark that says "this connection may need another source address". It is set
// on the first packet of a connection to a service and cleared before that leaves.
const Mark = 0x2000

// chain is a chain with its rules.
type chain struct {
	wire.Chain
	rules []nft.Rule
}

// Both translations come just before those of the pod network (pkg/network/cni), which has the standard priorities.
const (
	priorityDestination = -101
	prioritySource      = 99
)

// baseChains are all chains but those that choose an endpoint. What others jump to comes first.
func baseChains(node state.Node) []chain {
	chains := []chain{
		{wire.Chain{Name: chainReject}, rejectRules()},
		{wire.Chain{Name: chainRefuse}, append(returnRules(node, portRefuse), goTo(chainReject))},
		{wire.Chain{Name: chainDrop}, append(returnRules(node, portDrop), nft.Drop())},
		{wire.Chain{Name: chainMasquerade}, masqueradeRules(node)},
	}
	var pre, out, post, in []nft.Rule
	for _, v6 := range []bool{false, true} {
		f := family{v6}
		from := func(who string) string { return prefix + who + familyDigit(v6) }
		chains = append(
			chains,
			chain{wire.Chain{Name: f.chosenChain(0)}, f.chosenRules(0)},
			chain{wire.Chain{Name: f.chosenChain(classPort)}, f.chosenRules(classPort)},
			chain{wire.Chain{Name: from("other")}, f.otherRules(node)},
			chain{wire.Chain{Name: from("stray")}, f.strayRules(node)},
			chain{wire.Chain{Name: from("pod")}, f.podRules(node)},
			chain{wire.Chain{Name: from("node")}, f.nodeRules()},
			chain{wire.Chain{Name: from("stranger")}, f.strangerRules()},
		)
		for _, p := range node.ClusterCIDRs {
			if p.Addr().Is6() == v6 {
				pre = append(pre, nft.Join(nft.Source(p), goTo(from("pod"))))
			}
		}
		pre = append(pre, nft.Join(nft.Family(v6), goTo(from("stranger"))))
		out = append(out, nft.Join(nft.Family(v6), goTo(from("node"))))
		post = append(post, f.hairpinRule())
		in = append(in, f.inputRules(node)...)
	}
	post = append(post, nft.Join(marked(), goTo(chainMasquerade)))
	nat := func(name string, hook uint32, priority int32, rules []nft.Rule) chain {
		return chain{wire.Chain{Name: name, Type: "nat", Hook: hook, Priority: priority}, rules}
	}
	return append(
		chains,
		nat(chainPrerouting, unix.NF_INET_PRE_ROUTING, priorityDestination, pre),
		nat(chainOutput, unix.NF_INET_LOCAL_OUT, priorityDestination, out),
		chain{wire.Chain{Name: chainInput, Type: "filter", Hook: unix.NF_INET_LOCAL_IN}, in},
		nat(chainPostrouting, unix.NF_INET_POST_ROUTING, prioritySource, post),
	)
}

// masqueradeRules end the way of a marked connection. Those of the node and of other nodes' pods keep their source when the endpoint
// is on the node, and those of its own pods always.
func masqueradeRules(node state.Node) []nft.Rule {
	rules := []nft.Rule{clearMark()}
	for _, p := range node.PodCIDRs {
		rules = append(rules, nft.Join(nft.Source(p), nft.Return()))
	}
	for _, v6 := range []bool{false, true} {
		f := family{v6}
		here := nft.Join(nft.Family(v6), f.address(true, base), f.address(true, base+f.words()), f.lookup(local))
		rules = append(rules, nft.Join(here, fromNode(true), nft.Return()))
		for _, p := range node.ClusterCIDRs {
			if p.Addr().Is6() == v6 {
				rules = append(rules, nft.Join(nft.Source(p), here, nft.Return()))
			}
		}
	}
	return append(rules, nft.MasqueradeRandom())
}

// podRules are for connections from pods. Only to node ports do pods of other nodes come, and only where it is known which pods are
// this node's.
func (f family) podRules(node state.Node) []nft.Rule {
	other := goTo(prefix + "other" + familyDigit(f.v6))
	if !slices.ContainsFunc(node.PodCIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() == f.v6 }) {
		return slices.Concat([]nft.Rule{f.guardRule()}, f.dispatch(services, false), f.dispatch(services, true), []nft.Rule{other})
	}
	return slices.Concat(
		[]nft.Rule{f.guardRule()}, f.dispatch(services, false),
		[]nft.Rule{setMark()}, f.dispatch(services, true), []nft.Rule{clearMark(), other},
	)
}

// nodeRules are for connections of the node itself. Whether they need another source is known when the endpoint is chosen.
func (f family) nodeRules() []nft.Rule {
	return slices.Concat(
		[]nft.Rule{f.guardRule(), setMark()}, f.dispatch(services, false), f.dispatch(services, true),
		[]nft.Rule{clearMark(), goTo(prefix + "other" + familyDigit(f.v6))},
	)
}

// strangerRules are for connections from outside the cluster.
func (f family) strangerRules() []nft.Rule {
	return slices.Concat([]nft.Rule{f.guardRule()}, f.dispatch(outside, false), f.dispatch(outside, true), f.nodeRules()[1:])
}

// guardRule drops what the source ranges of a service do not allow.
func (f family) guardRule() nft.Rule {
	allowed := f.lookup(sources)
	allowed[0].(*expr.Lookup).Invert = true
	return nft.Join(
		nft.Family(f.v6), f.front(base), f.lookup(guarded),
		f.front(base), f.address(false, base+f.words()+2), allowed, nft.Drop(),
	)
}

// dispatch sends connections for a service to the chain of its class. It does so twice: a transaction may come between the two lookups of the
// first rule and take the class away.
func (f family) dispatch(id setID, port bool) []nft.Rule {
	rule := f.dispatchRule(id, port)
	return []nft.Rule{rule, rule}
}

func (f family) dispatchRule(id setID, port bool) nft.Rule {
	rule := nft.Family(f.v6)
	if port {
		rule = nft.Join(rule, f.address(true, base), f.lookup(nodeports), f.anyFront(base))
	} else {
		rule = nft.Join(rule, f.front(base))
	}
	return nft.Join(
		rule, f.fetch(id, base), setPriority(base),
		nft.Rule{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: base}}, f.fetch(classes, unix.NFT_REG_VERDICT),
	)
}

// hairpinRule gives a pod that reaches itself another source.
func (f family) hairpinRule() nft.Rule {
	return nft.Join(
		nft.Family(f.v6), f.address(false, base), f.address(true, base+f.words()), f.lookup(local), fromNode(false), nft.MasqueradeRandom(),
	)
}
