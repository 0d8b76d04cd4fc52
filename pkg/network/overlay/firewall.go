package overlay

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// Names of what the package owns in the table.
const (
	rulePrefix      = "vxlan-"
	chainPrerouting = rulePrefix + "prerouting"
	chainOutput     = rulePrefix + "output"
	chainInput      = rulePrefix + "input"
	chainArrive     = rulePrefix + "arrive"
	chainAdmit      = rulePrefix + "admit"
	chainPods       = rulePrefix + "pods"
	setPeersV4      = rulePrefix + "peers4"
	setPeersV6      = rulePrefix + "peers6"

	podLinks = "kdg" // begins the names of the pods' links, as in pkg/network/cni
	// afterServices is a priority behind everything that takes packets to service addresses away from the host.
	afterServices = nftables.ChainPriority(150)
)

// firewall takes VXLAN packets from peers only, keeps pods from sending any to nodes, and spares the connection tracker the packets
// between nodes: each flow of pods would be one more connection, and none of them is ever translated.
type firewall struct {
	conn  *nftables.Conn
	log   *slog.Logger
	own   []netip.Addr        // this node's addresses
	open  bool                // the rules are there
	shut  bool                // the rules are not there, for sure
	peers map[netip.Addr]bool // in the kernel's sets
}

// apply makes the rules and brings the peers into the kernel, as a difference if the rules are there already. keep leaves former peers in.
func (f *firewall) apply(peers map[netip.Addr]bool, keep bool) error {
	if f.open {
		err := f.change(peers, keep)
		if err == nil {
			return nil
		}
		f.log.Warn("nftables table is not as it was left: writing it anew", "table", nft.Table().Name, "error", err)
	}
	f.open = false
	if err := rules(f.own, peers).Apply(f.conn); err != nil {
		return err
	}
	f.open, f.shut, f.peers = true, false, maps.Clone(peers)
	return nil
}

// withdraw removes the rules.
func (f *firewall) withdraw() error {
	if f.shut {
		return nil
	}
	if err := (nft.Plan{Prefix: rulePrefix}).Apply(f.conn); err != nil {
		return err
	}
	f.open, f.shut, f.peers = false, true, nil
	return nil
}

func (f *firewall) change(peers map[netip.Addr]bool, keep bool) error {
	add, remove := difference(peers, f.peers)
	if keep {
		remove = nil
	}
	if len(add)+len(remove) == 0 {
		return nil
	}
	for _, s := range sets() {
		if err := nft.Chunks(elements(remove, s), s.Set(), f.conn.SetDeleteElements); err != nil {
			return fmt.Errorf("remove VXLAN peers: %w", err)
		}
		if err := nft.Chunks(elements(add, s), s.Set(), f.conn.SetAddElements); err != nil {
			return fmt.Errorf("add VXLAN peers: %w", err)
		}
	}
	if err := f.conn.Flush(); err != nil {
		return fmt.Errorf("change VXLAN peers: %w", err)
	}
	maps.Copy(f.peers, add)
	for a := range remove {
		delete(f.peers, a)
	}
	return nil
}

func sets() []nft.AddressSet {
	return []nft.AddressSet{{Name: setPeersV4}, {Name: setPeersV6, V6: true}}
}

func elements(peers map[netip.Addr]bool, s nft.AddressSet) []nftables.SetElement {
	var all []nftables.SetElement
	for a := range peers {
		if a.Is6() == s.V6 {
			all = append(all, s.Element(a))
		}
	}
	return all
}

// rules looks at VXLAN packets in chains of their own, so that other packets are compared with a port and no more. What peers send
// to this node passes few of them.
func rules(own []netip.Addr, peers map[netip.Addr]bool) nft.Plan {
	plan := nft.Plan{Prefix: rulePrefix}
	fromPods := nft.From(podLinks)
	arrive := []nft.Rule{nft.Join(fromPods, nft.Jump(chainPods)), nft.Join(fromPods, nft.Return())}
	admit := []nft.Rule{nft.Join(fromPods, nft.Drop())}
	var output, pods []nft.Rule
	for _, s := range sets() {
		plan.Sets = append(plan.Sets, nft.Set{Set: s.Set(), Elements: elements(peers, s)})
		pods = append(pods, nft.Join(s.To(), nft.Drop()))
		output = append(output, nft.Join(vxlanPackets(), s.To(), nft.Untracked()))
		admit = append(admit, nft.Join(s.From(), nft.Return()))
		for _, a := range own {
			if a.Is6() == s.V6 {
				arrive = append(arrive, nft.Join(nft.Destination(nft.Single(a)), s.From(), nft.Untracked(), nft.Return()))
			}
		}
	}
	admit = append(admit, nft.Drop())
	filter := nftables.ChainTypeFilter
	plan.Chains = []nft.Chain{
		{Chain: nft.Regular(chainPods), Rules: pods},
		{Chain: nft.Regular(chainArrive), Rules: arrive},
		{Chain: nft.Regular(chainAdmit), Rules: admit},
		{
			Chain: nft.Base(chainPrerouting, filter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw),
			Rules: []nft.Rule{nft.Join(vxlanPackets(), nft.Jump(chainArrive))},
		},
		{Chain: nft.Base(chainOutput, filter, nftables.ChainHookOutput, nftables.ChainPriorityRaw), Rules: output},
		{
			Chain: nft.Base(chainInput, filter, nftables.ChainHookInput, new(afterServices)),
			Rules: []nft.Rule{nft.Join(vxlanPackets(), nft.Jump(chainAdmit))},
		},
	}
	return plan
}

func vxlanPackets() nft.Rule { return nft.Port(unix.IPPROTO_UDP, port) }
