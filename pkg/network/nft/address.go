package nft

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// An AddressSet holds addresses of one family.
type AddressSet struct {
	Name string
	V6   bool
}

// Set is the set's definition.
func (s AddressSet) Set() *nftables.Set {
	return &nftables.Set{Table: Table(), Name: s.Name, KeyType: addressType(s.V6)}
}

// From matches packets whose source is in the set.
func (s AddressSet) From() Rule { return s.match(false) }

// To matches packets whose destination is in the set.
func (s AddressSet) To() Rule { return s.match(true) }

func (s AddressSet) match(destination bool) Rule {
	return append(Family(s.V6), loadAddress(s.V6, destination, reg16), &expr.Lookup{SourceRegister: reg16, SetName: s.Name})
}

// Element is one address.
func (s AddressSet) Element(a netip.Addr) nftables.SetElement {
	return nftables.SetElement{Key: a.AsSlice()}
}

// Untracked keeps the packet out of connection tracking, and so out of translation. It works in chains of the priority raw only.
func Untracked() Rule { return Rule{&expr.Notrack{}} }
