package overlay

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// State is what the kernel holds of the overlay, or shall hold.
type State struct {
	Links      map[string]Link        // by name
	Addresses  map[LinkAddr]bool      // on the links; the values are true
	Stations   map[LinkMAC]netip.Addr // FDB: which node has a hardware address
	Neighbours map[LinkAddr]MAC       // which hardware address a peer's VTEP has
	Routes     map[netip.Prefix]Route // by destination
	Peers      map[netip.Addr]bool    // nodes from which VXLAN packets are taken; the values are true
}

// Link is a VXLAN link.
type Link struct {
	MAC   MAC
	Local netip.Addr // source of its packets
	MTU   int
	Up    bool
	// Offload says that checksums are left to whoever sends the packets on. Too many network cards and kernels fail with that for
	// packets inside of VXLAN; but without it each packet goes the way by itself, and large ones are cut before VXLAN.
	Offload bool
	// Alien is a link of this name that cannot become what it should be.
	Alien bool
}

// LinkAddr is an address on a link or behind it.
type LinkAddr struct {
	Link string
	Addr netip.Addr
}

// LinkMAC is a hardware address behind a link.
type LinkMAC struct {
	Link string
	MAC  MAC
}

// Route leads to pods. Without a link the kernel answers that they cannot be reached.
type Route struct {
	Link   string
	Via    netip.Addr
	Source netip.Addr // of the node's own packets
}

// MAC is a hardware address.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// macOf is the hardware address of a node's VTEP: locally administered, unicast (IEEE 802), and the same wherever it is computed.
func macOf(node string) MAC {
	sum := sha256.Sum256([]byte("kedge VTEP " + node))
	return MAC{0x06, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

// newState has room for so many nodes.
func newState(nodes int) State {
	return State{
		Links: map[string]Link{}, Addresses: map[LinkAddr]bool{}, Stations: make(map[LinkMAC]netip.Addr, nodes),
		Neighbours: make(map[LinkAddr]MAC, 2*nodes), Routes: make(map[netip.Prefix]Route, 2*nodes), Peers: make(map[netip.Addr]bool, nodes),
	}
}

// forget takes a link out with everything that goes with it.
func (s State) forget(link string) {
	delete(s.Links, link)
	for k := range s.Addresses {
		if k.Link == link {
			delete(s.Addresses, k)
		}
	}
	for k := range s.Stations {
		if k.Link == link {
			delete(s.Stations, k)
		}
	}
	for k := range s.Neighbours {
		if k.Link == link {
			delete(s.Neighbours, k)
		}
	}
	for k, r := range s.Routes {
		if r.Link == link {
			delete(s.Routes, k)
		}
	}
}

// String lists all of it in lines of iproute2's words, sorted within each kind.
func (s State) String() string {
	var out strings.Builder
	out.WriteString(lines(s.Links, func(n string, l Link) string {
		text := fmt.Sprintf("link %s address %s local %s mtu %d", n, l.MAC, l.Local, l.MTU)
		return text + when(!l.Up, " down") + when(l.Offload, " offload") + when(l.Alien, " alien")
	}))
	out.WriteString(lines(s.Addresses, func(a LinkAddr, _ bool) string { return fmt.Sprintf("address %s dev %s", a.Addr, a.Link) }))
	out.WriteString(lines(s.Stations, func(m LinkMAC, to netip.Addr) string { return fmt.Sprintf("fdb %s dev %s dst %s", m.MAC, m.Link, to) }))
	out.WriteString(lines(s.Neighbours, func(a LinkAddr, m MAC) string { return fmt.Sprintf("neighbour %s dev %s lladdr %s", a.Addr, a.Link, m) }))
	out.WriteString(lines(s.Routes, func(to netip.Prefix, r Route) string {
		if r.Link == "" {
			return fmt.Sprintf("route unreachable %s", to)
		}
		return fmt.Sprintf("route %s via %s dev %s src %s", to, r.Via, r.Link, r.Source)
	}))
	out.WriteString(lines(s.Peers, func(a netip.Addr, _ bool) string { return fmt.Sprintf("peer %s", a) }))
	return out.String()
}

func lines[K comparable, V any](m map[K]V, line func(K, V) string) string {
	all := make([]string, 0, len(m))
	for k, v := range m {
		all = append(all, line(k, v)+"\n")
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func when(set bool, text string) string {
	if set {
		return text
	}
	return ""
}
