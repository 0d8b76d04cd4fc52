package overlay

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Backend says how packets get from node to node: the values of --overlay-backend.
type Backend string

// The backends.
const (
	VXLAN  Backend = "vxlan"   // through VXLAN
	HostGW Backend = "host-gw" // directly to nodes on the same subnet, through VXLAN to others
	None   Backend = "none"    // somebody else's business
)

// Names of the links, by the family of the node addresses.
const (
	linkV4 = "kedge-vxlan"
	linkV6 = "kedge-vxlan6"
)

// What VXLAN adds to a packet, in bytes: the outer IP header, UDP 8, VXLAN 8 and the inner Ethernet header 14 (RFC 7348 section 5).
const (
	overheadV4 = 20 + 8 + 8 + 14
	overheadV6 = 40 + 8 + 8 + 14
)

// Overhead is what the overlay adds to the packets of pods of a node with these addresses, in bytes. Pods' links are that much
// smaller than the node's. With host-gw it is nothing: packets to other subnets that are too large are answered by the node with the
// size that fits.
func Overhead(backend Backend, nodeIPs []netip.Addr) int {
	switch {
	case backend != VXLAN:
		return 0
	case slices.ContainsFunc(nodeIPs, netip.Addr.Is4):
		return overheadV4
	default:
		return overheadV6
	}
}

// Underlay is one of this node's addresses with the network that it is on.
type Underlay struct {
	Address netip.Addr
	Subnet  netip.Prefix
	Link    string
	MTU     int
	// Virtual says that the link leads to another network namespace of the same machine: nothing leaves memory, and no hardware can get
	// a checksum wrong.
	Virtual bool
}

// Input is everything that the overlay depends on.
type Input struct {
	Backend  Backend
	Self     string     // name of this node
	Underlay []Underlay // at most one of each family
	Nodes    []Node     // all nodes, this one included
	NoIPv6   bool       // the kernel has no IPv6
}

// planner collects what Plan returns.
type planner struct {
	Input
	State
	self     Node
	problems []string
}

// Plan computes what the kernel shall hold. Problems name the nodes that are left out, and why; they do not depend on the order of nodes.
// ok is false while this node has no pod CIDR: then nothing shall be changed.
func Plan(in Input) (want State, problems []string, ok bool) {
	p := &planner{Input: in, State: newState(len(in.Nodes))}
	if in.Backend == None {
		return p.State, nil, true
	}
	p.Nodes = slices.Clone(in.Nodes)
	slices.SortFunc(p.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	i := slices.IndexFunc(p.Nodes, func(n Node) bool { return n.Name == in.Self })
	if i < 0 || len(p.Nodes[i].PodCIDRs) == 0 {
		return p.State, nil, false
	}
	p.self = p.Nodes[i]
	p.Nodes = slices.Delete(p.Nodes, i, i+1)
	for _, c := range p.self.PodCIDRs {
		if !c.Addr().Is6() || !in.NoIPv6 {
			p.Routes[c] = Route{} // an address that no pod has must not leave by the default route
		}
	}
	if len(p.Underlay) == 0 && len(p.Nodes) > 0 {
		p.problem("node %s has none of its addresses on a link: set --node-ip to an address of this machine", p.Self)
		return p.State, p.problems, true
	}
	taken := p.claims()
	for _, n := range p.Nodes {
		p.reach(n, taken)
	}
	return p.State, p.problems, true
}

// claims says which node has which pod CIDR. Of two that overlap the first has it: this node, then by address, then by name.
func (p *planner) claims() map[netip.Prefix]string {
	type claim struct {
		netip.Prefix
		node string
	}
	all := make([]claim, 0, 2*len(p.Nodes))
	for _, n := range p.Nodes {
		for _, c := range n.PodCIDRs {
			all = append(all, claim{c, n.Name})
		}
	}
	slices.SortStableFunc(all, func(a, b claim) int {
		if d := a.Addr().Compare(b.Addr()); d != 0 {
			return d
		}
		return a.Bits() - b.Bits()
	})
	taken := make(map[netip.Prefix]string, len(all))
	var last claim
	for _, c := range all {
		winner := ""
		if slices.ContainsFunc(p.self.PodCIDRs, c.Overlaps) {
			winner = p.Self
		} else if last.IsValid() && last.Overlaps(c.Prefix) {
			winner = last.node
		}
		if winner != "" {
			p.problem("pod CIDR %s of node %s is taken by node %s", c.Prefix, c.node, winner)
			continue
		}
		taken[c.Prefix], last = c.node, c
	}
	return taken
}

// reach leads to the pods of one peer.
func (p *planner) reach(n Node, taken map[netip.Prefix]string) {
	var tunnelled []netip.Prefix
	for _, c := range n.PodCIDRs {
		if taken[c] != n.Name || c.Addr().Is6() && p.NoIPv6 {
			continue
		}
		if u := p.underlay(c.Addr().Is6()); p.Backend == HostGW && p.neighbour(u, n) {
			p.Routes[c] = Route{Link: u.Link, Via: n.address(c.Addr().Is6()), Source: u.Address}
		} else {
			tunnelled = append(tunnelled, c)
		}
	}
	if len(tunnelled) == 0 {
		return
	}
	for _, v6 := range []bool{false, true} {
		u, address := p.underlay(v6), n.address(v6)
		if !u.Address.IsValid() || !address.IsValid() {
			continue
		}
		if address == u.Address {
			p.problem("node %s has the address %s of this node", n.Name, address)
			return
		}
		p.tunnel(u, n, address, tunnelled)
		return
	}
	p.problem("node %s shares no IP family with this node: it has the addresses %v", n.Name, n.Addresses)
}

// tunnel leads to pods through VXLAN.
func (p *planner) tunnel(u Underlay, n Node, address netip.Addr, cidrs []netip.Prefix) {
	name, mac := p.link(u), macOf(n.Name)
	p.Stations[LinkMAC{name, mac}] = address
	p.Peers[address] = true
	for _, c := range cidrs {
		source := p.self.podCIDR(c.Addr().Is6())
		if !source.IsValid() {
			p.problem("node %s has pods in %s, this node has none of that family", n.Name, c)
			continue
		}
		p.Neighbours[LinkAddr{name, c.Addr()}] = mac
		p.Routes[c] = Route{Link: name, Via: c.Addr(), Source: source.Addr()}
	}
}

// link makes sure of the link over an address of this node. Its own addresses are the network addresses of this node's pod CIDRs: pods
// never get them, and what the node sends to remote pods comes from there.
func (p *planner) link(u Underlay) string {
	name, overhead := linkV4, overheadV4
	if u.Address.Is6() {
		name, overhead = linkV6, overheadV6
	}
	if _, ok := p.Links[name]; ok {
		return name
	}
	p.Links[name] = Link{MAC: macOf(p.Self), Local: u.Address, MTU: u.MTU - overhead, Up: true, Offload: u.Virtual}
	for _, c := range p.self.PodCIDRs {
		if !c.Addr().Is6() || !p.NoIPv6 {
			p.Addresses[LinkAddr{name, c.Addr()}] = true
		}
	}
	return name
}

// neighbour tells whether a node has an address on the subnet of one of ours.
func (p *planner) neighbour(u Underlay, n Node) bool {
	a := n.address(u.Address.Is6())
	return u.Address.IsValid() && a.IsValid() && a != u.Address && u.Subnet.Contains(a)
}

func (p *planner) underlay(v6 bool) Underlay {
	for _, u := range p.Underlay {
		if u.Address.Is6() == v6 {
			return u
		}
	}
	return Underlay{}
}

func (p *planner) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}
