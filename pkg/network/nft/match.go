package nft

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of the nftables virtual machine: one of 16 bytes, and the four-byte ones that overlap it (linux/netfilter/nf_tables.h).
const (
	reg16    = uint32(unix.NFT_REG_1)
	reg4base = uint32(unix.NFT_REG32_00)
	ifNamSiz = 16
)

// Rule is a list of expressions: matches first, then what to do.
type Rule []expr.Any

// Join makes one rule of its parts.
func Join(parts ...Rule) Rule { return slices.Concat(parts...) }

// Family matches packets of IPv6 or of IPv4.
func Family(v6 bool) Rule {
	proto := byte(unix.NFPROTO_IPV4)
	if v6 {
		proto = unix.NFPROTO_IPV6
	}
	return Rule{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg16}, equal([]byte{proto})}
}

// Source matches packets that come from an address inside p.
func Source(p netip.Prefix) Rule { return address(p, false) }

// Destination matches packets that go to an address inside p.
func Destination(p netip.Prefix) Rule { return address(p, true) }

// Single is the prefix that holds only addr.
func Single(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// From matches packets that arrive on a link whose name begins with prefix.
func From(prefix string) Rule {
	return Rule{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg16}, equal([]byte(prefix))}
}

// NotInto matches packets that leave on any link but the one called name.
func NotInto(name string) Rule {
	data := make([]byte, ifNamSiz)
	copy(data, name)
	return Rule{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg16},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg16, Data: data},
	}
}

// Port matches packets of an IP protocol to a port.
func Port(protocol uint8, port uint16) Rule {
	return Rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg16}, equal([]byte{protocol}),
		loadPort(reg16), equal(binary.BigEndian.AppendUint16(nil, port)),
	}
}

// ToLocal matches packets to one of the host's own addresses.
func ToLocal() Rule {
	return Rule{
		&expr.Fib{Register: reg16, ResultADDRTYPE: true, FlagDADDR: true},
		equal(binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)),
	}
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg16, Data: data} }

func address(p netip.Prefix, destination bool) Rule {
	p = p.Masked()
	addr := p.Addr().AsSlice()
	rule := append(Family(p.Addr().Is6()), loadAddress(p.Addr().Is6(), destination, reg16))
	if !p.IsSingleIP() {
		rule = append(rule, &expr.Bitwise{
			SourceRegister: reg16, DestRegister: reg16, Len: uint32(len(addr)),
			Mask: mask(p.Bits(), len(addr)), Xor: make([]byte, len(addr)),
		})
	}
	return append(rule, equal(addr))
}

func mask(ones, size int) []byte {
	m := make([]byte, size)
	for i := range ones {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// loadAddress reads the source or destination address (RFC 791 section 3.1, RFC 8200 section 3).
func loadAddress(v6, destination bool, register uint32) expr.Any {
	offset, size := uint32(12), uint32(4)
	if v6 {
		offset, size = 8, 16
	}
	if destination {
		offset += size
	}
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
}

// loadPort reads the destination port, which TCP, UDP and SCTP keep in the same place.
func loadPort(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}
