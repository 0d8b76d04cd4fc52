package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A PortMap sends connections to [address,] protocol and port on to another address and port.
type PortMap struct {
	Name string
	V6   bool
	// ByAddress says that the key begins with the destination address.
	ByAddress bool
}

// Set is the map's definition.
func (m PortMap) Set() *nftables.Set {
	key := []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}
	if m.ByAddress {
		key = append([]nftables.SetDatatype{addressType(m.V6)}, key...)
	}
	return &nftables.Set{
		Table: Table(), Name: m.Name, IsMap: true, Concatenation: true,
		KeyType:  nftables.MustConcatSetType(key...),
		DataType: nftables.MustConcatSetType(addressType(m.V6), nftables.TypeInetService),
	}
}

// Rule translates what the map holds and lets everything else pass to the next rule.
func (m PortMap) Rule() Rule {
	rule, register := Family(m.V6), reg4base
	if m.ByAddress {
		rule = append(rule, loadAddress(m.V6, true, register))
		register += addressType(m.V6).Bytes / 4
	}
	return append(
		rule,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		loadPort(register+1),
		&expr.Lookup{SourceRegister: reg4base, DestRegister: reg4base, IsDestRegSet: true, SetName: m.Name},
		dnat(m.V6),
	)
}

// Element is one entry; address is used with ByAddress only.
func (m PortMap) Element(address netip.Addr, protocol uint8, port uint16, to netip.AddrPort) nftables.SetElement {
	var key []byte
	if m.ByAddress {
		key = address.AsSlice()
	}
	key = append(key, protocol, 0, 0, 0)
	key = append(key, word(port)...)
	return nftables.SetElement{Key: key, Val: append(to.Addr().AsSlice(), word(to.Port())...)}
}

// A PairSet holds pairs of source and destination address.
type PairSet struct {
	Name string
	V6   bool
}

// Set is the set's definition.
func (s PairSet) Set() *nftables.Set {
	return &nftables.Set{
		Table: Table(), Name: s.Name, Concatenation: true,
		KeyType: nftables.MustConcatSetType(addressType(s.V6), addressType(s.V6)),
	}
}

// Match matches packets whose source and destination are a pair of the set.
func (s PairSet) Match() Rule {
	words := addressType(s.V6).Bytes / 4
	return append(
		Family(s.V6),
		loadAddress(s.V6, false, reg4base),
		loadAddress(s.V6, true, reg4base+words),
		&expr.Lookup{SourceRegister: reg4base, SetName: s.Name},
	)
}

// Element is one pair.
func (s PairSet) Element(source, destination netip.Addr) nftables.SetElement {
	return nftables.SetElement{Key: append(source.AsSlice(), destination.AsSlice()...)}
}

func addressType(v6 bool) nftables.SetDatatype {
	if v6 {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

// word is a port in network order, padded to a register.
func word(port uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, port), 0, 0) }
