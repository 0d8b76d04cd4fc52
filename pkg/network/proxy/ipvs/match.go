package ipvs

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

func families() [2]bool { return [2]bool{false, true} }

// part is a piece of a key: how to load it and how many registers of four bytes it takes.
type part struct {
	load  func(register uint32) expr.Any
	words uint32
}

// address is the source or destination address of a packet of the family.
func address(v6, destination bool) part {
	offset, size := uint32(12), uint32(4) // RFC 791 section 3.1
	if v6 {
		offset, size = 8, 16 // RFC 8200 section 3
	}
	if destination {
		offset += size
	}
	return part{func(register uint32) expr.Any {
		return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
	}, size / 4}
}

// entryParts are the key of an entry: destination address, protocol, destination port.
func entryParts(v6 bool) []part {
	return []part{
		address(v6, true),
		{func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r} }, 1},
		{func(r uint32) expr.Any {
			return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
		}, 1},
	}
}

func loadEntry(v6 bool) nft.Rule { return load(entryParts(v6)...) }

// load loads a key.
func load(parts ...part) nft.Rule {
	var rule nft.Rule
	register := keyRegister
	for _, p := range parts {
		rule = append(rule, p.load(register))
		register += p.words
	}
	return rule
}

// in matches when the loaded key is in a set.
func in(s set, v6 bool) nft.Rule {
	return nft.Rule{&expr.Lookup{SourceRegister: keyRegister, SetName: s.name(v6)}}
}

func notIn(s set, v6 bool) nft.Rule {
	return nft.Rule{&expr.Lookup{SourceRegister: keyRegister, SetName: s.name(v6), Invert: true}}
}

// verdictOf goes where a map says for the loaded key.
func verdictOf(s set, v6 bool) nft.Rule {
	return nft.Rule{&expr.Lookup{SourceRegister: keyRegister, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: s.name(v6)}}
}

// setMarkFrom replaces the packet's mark by that of the loaded key.
func setMarkFrom(s set, v6 bool) nft.Rule {
	return nft.Rule{
		&expr.Lookup{SourceRegister: keyRegister, DestRegister: valueRegister, IsDestRegSet: true, SetName: s.name(v6)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: valueRegister, SourceRegister: true},
	}
}

// addMark adds bits to the packet's mark.
func addMark(bits uint32) nft.Rule {
	return nft.Rule{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: valueRegister},
		&expr.Bitwise{SourceRegister: valueRegister, DestRegister: valueRegister, Len: 4, Mask: markBytes(^bits), Xor: markBytes(bits)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: valueRegister, SourceRegister: true},
	}
}

// hasMark matches packets that have a bit in their mark.
func hasMark(bit uint32) nft.Rule { return append(markBit(bit), notZero()) }

func lacksMark(bit uint32) nft.Rule { return append(markBit(bit), equal(markBytes(0))) }

func markBit(bit uint32) nft.Rule {
	return nft.Rule{&expr.Meta{Key: expr.MetaKeyMARK, Register: valueRegister}, only(bit)}
}

// connState matches packets of connections in a state.
func connState(bit uint32) nft.Rule {
	return nft.Rule{&expr.Ct{Key: expr.CtKeySTATE, Register: valueRegister}, only(bit), notZero()}
}

// only leaves these bits of the loaded value.
func only(bits uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: valueRegister, DestRegister: valueRegister, Len: 4, Mask: markBytes(bits), Xor: markBytes(0)}
}

func notZero() expr.Any {
	return &expr.Cmp{Op: expr.CmpOpNeq, Register: valueRegister, Data: markBytes(0)}
}

// fromNode matches what a process of the node sends: it comes from no link.
func fromNode() nft.Rule {
	return nft.Rule{&expr.Meta{Key: expr.MetaKeyIIF, Register: valueRegister}, equal(binary.NativeEndian.AppendUint32(nil, 0))}
}

// intoLoopback matches what stays on the node.
func intoLoopback() nft.Rule {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, loopback)
	return nft.Rule{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: name},
	}
}

func toPort(port uint16) nft.Rule {
	return nft.Rule{entryParts(false)[2].load(valueRegister), equal(binary.BigEndian.AppendUint16(nil, port))}
}

func isProtocol(protocol uint8) nft.Rule {
	return nft.Rule{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: valueRegister}, equal([]byte{protocol})}
}

func equal(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: valueRegister, Data: data}
}

func accept() nft.Rule { return nft.Rule{&expr.Verdict{Kind: expr.VerdictAccept}} }
