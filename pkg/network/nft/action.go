package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Drop ends the packet.
func Drop() Rule { return Rule{&expr.Verdict{Kind: expr.VerdictDrop}} }

// Return goes back to the calling chain.
func Return() Rule { return Rule{&expr.Verdict{Kind: expr.VerdictReturn}} }

// Jump goes on in a chain and comes back from it.
func Jump(chain string) Rule { return Rule{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }

// Masquerade gives the connection the address of the link on which it leaves, keeping its port where that is free.
func Masquerade() Rule { return Rule{&expr.Masq{}} }

// MasqueradeRandom is Masquerade with random ports, so that two connections which start at once do not fight for one.
func MasqueradeRandom() Rule { return Rule{&expr.Masq{FullyRandom: true}} }

// DNAT sends the connection to another address and port.
func DNAT(to netip.AddrPort) Rule {
	size := uint32(to.Addr().BitLen() / 8)
	return Rule{
		&expr.Immediate{Register: reg4base, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: reg4base + size/4, Data: binary.BigEndian.AppendUint16(nil, to.Port())},
		dnat(to.Addr().Is6()),
	}
}

// dnat translates to the address that begins in the first four-byte register and the port in the one after it.
func dnat(v6 bool) expr.Any {
	family, size := uint32(unix.NFPROTO_IPV4), uint32(4)
	if v6 {
		family, size = unix.NFPROTO_IPV6, 16
	}
	return &expr.NAT{
		Type: expr.NATTypeDestNAT, Family: family, Specified: true,
		RegAddrMin: reg4base, RegProtoMin: reg4base + size/4,
	}
}
