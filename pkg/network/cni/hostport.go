package cni

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/google/nftables"

	"kedge/pkg/network/cni/wire"
	"kedge/pkg/network/nft"
)

// element is one entry of one of the package's sets.
type element struct {
	set *nftables.Set
	nftables.SetElement
}

// id names the element's key among all sets.
func (e element) id() string { return e.set.Name + " " + hex.EncodeToString(e.Key) }

// portMaps are the maps of host ports, in the order in which they are asked: those of one address before those of all.
func portMaps() []nft.PortMap {
	return []nft.PortMap{portMap(false, true), portMap(false, false), portMap(true, true), portMap(true, false)}
}

func portMap(v6, byAddress bool) nft.PortMap {
	name := rulePrefix + "port4"
	if v6 {
		name = rulePrefix + "port6"
	}
	if byAddress {
		name += "-address"
	}
	return nft.PortMap{Name: name, V6: v6, ByAddress: byAddress}
}

func hairpins() []nft.PairSet { return []nft.PairSet{hairpin(false), hairpin(true)} }

func hairpin(v6 bool) nft.PairSet {
	if v6 {
		return nft.PairSet{Name: rulePrefix + "hairpin6", V6: true}
	}
	return nft.PairSet{Name: rulePrefix + "hairpin4"}
}

// elements are all entries of an attachment: its host ports, and the pair that lets it reach itself through them.
func (a *attachment) elements() ([]element, error) {
	if len(a.Ports) == 0 {
		return nil, nil
	}
	var all []element
	seen := map[string]bool{}
	for _, addr := range a.Addresses {
		for _, m := range a.Ports {
			e, ok, err := portElement(m, addr)
			if err != nil {
				return nil, err
			}
			if ok && !seen[e.id()] {
				seen[e.id()] = true
				all = append(all, e)
			}
		}
		pair := hairpin(addr.Is6())
		all = append(all, element{pair.Set(), pair.Element(addr, addr)})
	}
	return all, nil
}

// portElement is the entry of a mapping for one of the pod's addresses; ok is false when the mapping is of the other family.
func portElement(m wire.PortMapping, addr netip.Addr) (e element, ok bool, err error) {
	protocol, err := protocolNumber(m.Protocol)
	if err != nil {
		return element{}, false, fmt.Errorf("host port %d: %w", m.HostPort, err)
	}
	hostIP, err := m.HostAddress()
	if err != nil || (hostIP.IsValid() && hostIP.Is4() != addr.Is4()) {
		return element{}, false, err
	}
	target := portMap(addr.Is6(), hostIP.IsValid() && !hostIP.IsUnspecified())
	return element{target.Set(), target.Element(hostIP, protocol, m.HostPort, netip.AddrPortFrom(addr, m.ContainerPort))}, true, nil
}
