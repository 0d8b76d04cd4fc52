package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/proxy/state"
)

// dnsPort is what of the node's own service addresses is not refused.
const dnsPort = 53

func rejectRules() []nft.Rule {
	return []nft.Rule{
		nft.Join(protocol(unix.IPPROTO_TCP), nft.Rule{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}),
		{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}},
	}
}

// The node's own connections that are to fail go to the first address of the service network, which no service has, on these ports:
// ended where they leave, a UDP socket would be told EPERM at once instead of ECONNREFUSED or nothing.
const (
	portRefuse = 1
	portDrop   = 2
)

// returnRules send the node's own connections that would reach the node itself to a port of the first service address. Others,
// to services on addresses of other machines, are ended by the rule after these.
func returnRules(node state.Node, port uint16) []nft.Rule {
	var rules []nft.Rule
	for _, p := range node.ServiceCIDRs {
		to := netip.AddrPortFrom(p.Masked().Addr(), port)
		rules = append(rules, nft.Join(nft.Family(p.Addr().Is6()), onLoopback(), clearMark(), nft.DNAT(to)))
	}
	return rules
}

// inputRules end what is for a service address although no service has taken it.
func (f family) inputRules(node state.Node) []nft.Rule {
	var rules []nft.Rule
	for _, p := range node.ServiceCIDRs {
		if p.Addr().Is6() == f.v6 {
			rules = append(rules, nft.Join(nft.Destination(p), goTo(prefix+"stray"+familyDigit(f.v6))))
		}
	}
	return rules
}

func (f family) strayRules(node state.Node) []nft.Rule {
	rules := f.ownRules(node)
	for _, a := range node.Own {
		if a.Is6() == f.v6 { // answers to the node itself, which asks from the address that it asks
			rules = append(rules, nft.Join(nft.Source(nft.Single(a)), nft.Destination(nft.Single(a)), nft.Return()))
		}
	}
	for _, p := range node.ServiceCIDRs {
		if p.Addr().Is6() == f.v6 {
			rules = append(rules, nft.Join(nft.Destination(nft.Single(p.Masked().Addr())), f.toPort(portDrop), nft.Drop()))
		}
	}
	return append(rules, goTo(chainReject))
}

func (f family) toPort(number uint16) nft.Rule {
	return nft.Rule{
		&expr.Payload{DestRegister: base, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: base, Data: binary.BigEndian.AppendUint16(nil, number)},
	}
}

// otherRules refuse what goes to a service address without being for a service, lest it reach the node's own listeners or leave. An
// external address is a service's only where nobody else is known to have it.
func (f family) otherRules(node state.Node) []nft.Rule {
	rules := append(
		f.ownRules(node),
		nft.Join(onLoopback(), nft.Family(f.v6), f.address(true, base), f.lookup(external), goTo(chainRefuse)),
	)
	for _, p := range node.ServiceCIDRs {
		if p.Addr().Is6() == f.v6 {
			rules = append(rules, nft.Join(nft.Destination(p), goTo(chainRefuse)))
		}
	}
	return rules
}

// ownRules spare what the node itself serves on service addresses.
func (f family) ownRules(node state.Node) []nft.Rule {
	var rules []nft.Rule
	for _, a := range node.Own {
		if a.Is6() == f.v6 {
			own := nft.Destination(nft.Single(a))
			rules = append(
				rules,
				nft.Join(own, nft.Port(unix.IPPROTO_UDP, dnsPort), nft.Return()), nft.Join(own, nft.Port(unix.IPPROTO_TCP, dnsPort), nft.Return()),
				nft.Join(own, protocol(f.icmp()), nft.Return()),
			)
		}
	}
	return rules
}

func (f family) icmp() uint8 {
	if f.v6 {
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}
