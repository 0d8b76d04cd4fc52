package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

func goTo(chain string) nft.Rule {
	return nft.Rule{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// onLoopback matches what leaves by lo, the first link of every network namespace. Nothing that comes in does at prerouting.
func onLoopback() nft.Rule {
	return nft.Rule{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: base},
		&expr.Cmp{Op: expr.CmpOpEq, Register: base, Data: binary.NativeEndian.AppendUint32(nil, 1)},
	}
}

func fromNode(yes bool) nft.Rule {
	op := expr.CmpOpNeq
	if yes {
		op = expr.CmpOpEq
	}
	return nft.Rule{
		&expr.Fib{Register: base, ResultADDRTYPE: true, FlagSADDR: true},
		&expr.Cmp{Op: op, Register: base, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
	}
}

func protocol(number uint8) nft.Rule {
	return nft.Rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: base},
		&expr.Cmp{Op: expr.CmpOpEq, Register: base, Data: []byte{number}},
	}
}

func setMark() nft.Rule { return changeMark(^uint32(Mark), Mark) }

func clearMark() nft.Rule { return changeMark(^uint32(Mark), 0) }

func changeMark(mask, xor uint32) nft.Rule {
	return nft.Rule{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: base},
		bitwise(mask, xor),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: base, SourceRegister: true},
	}
}

func marked() nft.Rule {
	return nft.Rule{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: base},
		bitwise(Mark, 0),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: base, Data: make([]byte, 4)},
	}
}

func bitwise(mask, xor uint32) expr.Any {
	return &expr.Bitwise{
		SourceRegister: base, DestRegister: base, Len: 4,
		Mask: binary.NativeEndian.AppendUint32(nil, mask), Xor: binary.NativeEndian.AppendUint32(nil, xor),
	}
}

func setPriority(register uint32) nft.Rule {
	return nft.Rule{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: register, SourceRegister: true}}
}

func unspecified(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}
