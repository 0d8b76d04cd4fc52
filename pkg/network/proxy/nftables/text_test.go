package nftables

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft/wire"
)

// kernelText is what the kernel has of the table, as text: sets with their elements, then chains with their rules.
func kernelText(t *testing.T, b *Backend) string {
	t.Helper()
	var out strings.Builder
	for _, table := range b.tables {
		var lines []string
		check(t, b.conn.Elements(table.set.Name, func() { lines = nil }, func(e wire.Element) { lines = append(lines, elementText(table.set, e)) }))
		slices.Sort(lines)
		if len(lines) > 0 {
			fmt.Fprintf(&out, "%s\n%s\n", table.set.Name, strings.Join(lines, ""))
		}
	}
	conn := must(nftables.New())(t)
	chains := must(conn.ListChains())(t)
	slices.SortFunc(chains, func(a, b *nftables.Chain) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range chains {
		out.WriteString(c.Name)
		if c.Hooknum != nil {
			fmt.Fprintf(&out, " (%s, hook %d, priority %d)", c.Type, *c.Hooknum, *c.Priority)
		}
		out.WriteString("\n")
		for _, r := range must(conn.GetRules(c.Table, c))(t) {
			fmt.Fprintf(&out, "  %s\n", ruleText(r.Exprs))
		}
		out.WriteString("\n")
	}
	return out.String()
}

func elementText(set wire.Set, e wire.Element) string {
	text := "  " + fieldsText(set.Key, e.Key)
	if e.End != "" {
		text += " to " + fieldsText(set.Key[len(set.Key)-1:], e.End[len(e.End)-int(set.Key[len(set.Key)-1].Size):])
	}
	switch {
	case len(set.Data) == 0:
	case set.Data[0] == wire.Verdict():
		text += ": " + e.Val
	default:
		text += ": " + fieldsText(set.Data, e.Val)
	}
	return text + "\n"
}

func fieldsText(types []wire.Type, data string) string {
	var fields []string
	for _, t := range types {
		field := []byte(data[:t.Size])
		data = data[min((int(t.Size)+3)/4*4, len(data)):]
		switch t {
		case wire.IPv4(), wire.IPv6():
			a, _ := netip.AddrFromSlice(field)
			fields = append(fields, a.String())
		case wire.Proto():
			fields = append(fields, map[byte]string{6: "tcp", 17: "udp", 132: "sctp"}[field[0]])
		case wire.Service():
			fields = append(fields, fmt.Sprint(binary.BigEndian.Uint16(field)))
		default:
			fields = append(fields, fmt.Sprintf("%#x", binary.NativeEndian.Uint32(field)))
		}
	}
	return strings.Join(fields, " ")
}

func ruleText(rule []expr.Any) string {
	var parts []string
	for _, e := range rule {
		parts = append(parts, expressionText(e))
	}
	return strings.Join(parts, "; ")
}

func expressionText(e expr.Any) string {
	switch e := e.(type) {
	case *expr.Meta:
		key := map[expr.MetaKey]string{
			expr.MetaKeyPRIORITY: "priority", expr.MetaKeyMARK: "mark", expr.MetaKeyOIF: "out link", expr.MetaKeyNFPROTO: "family", expr.MetaKeyL4PROTO: "protocol",
		}[e.Key]
		if e.SourceRegister {
			return key + " = " + register(e.Register)
		}
		return register(e.Register) + " = " + key
	case *expr.Payload:
		return fmt.Sprintf("%s = %s+%d:%d", register(e.DestRegister), map[expr.PayloadBase]string{1: "network", 2: "transport"}[e.Base], e.Offset, e.Len)
	case *expr.Cmp:
		return fmt.Sprintf("%s %s %s", register(e.Register), map[expr.CmpOp]string{expr.CmpOpEq: "==", expr.CmpOpNeq: "!="}[e.Op], hex.EncodeToString(e.Data))
	case *expr.Bitwise:
		return fmt.Sprintf("%s = %s & %s ^ %s", register(e.DestRegister), register(e.SourceRegister), hex.EncodeToString(e.Mask), hex.EncodeToString(e.Xor))
	case *expr.Immediate:
		return fmt.Sprintf("%s = %s", register(e.Register), hex.EncodeToString(e.Data))
	case *expr.Fib:
		return fmt.Sprintf("%s = type of source address", register(e.Register))
	case *expr.Numgen:
		return fmt.Sprintf("%s = random below %d, plus %#x", register(e.Register), e.Modulus, e.Offset)
	}
	return actionText(e)
}

func actionText(e expr.Any) string {
	switch e := e.(type) {
	case *expr.Lookup:
		key := fmt.Sprintf("%s[%s]", e.SetName, register(e.SourceRegister))
		switch {
		case e.Invert:
			return "not in " + key
		case !e.IsDestRegSet:
			return "in " + key
		case e.DestRegister == unix.NFT_REG_VERDICT:
			return "follow " + key
		}
		return register(e.DestRegister) + " = " + key
	case *expr.Dynset:
		verb := map[uint32]string{unix.NFT_DYNSET_OP_UPDATE: "update", opDelete: "delete"}[e.Operation]
		return fmt.Sprintf("%s %s[%s] = %s for %s", verb, e.SetName, register(e.SrcRegKey), register(e.SrcRegData), e.Timeout)
	case *expr.NAT:
		text := fmt.Sprintf("translate destination to %s", register(e.RegAddrMin))
		if e.RegProtoMin != 0 {
			text += " port " + register(e.RegProtoMin)
		}
		return text
	case *expr.Masq:
		return fmt.Sprintf("masquerade, random ports %t", e.FullyRandom)
	case *expr.Reject:
		return map[uint32]string{unix.NFT_REJECT_TCP_RST: "TCP reset", unix.NFT_REJECT_ICMPX_UNREACH: "ICMP unreachable"}[e.Type]
	case *expr.Verdict:
		return strings.TrimSpace(map[expr.VerdictKind]string{
			expr.VerdictGoto: "go to", expr.VerdictJump: "jump to", expr.VerdictReturn: "return", expr.VerdictDrop: "drop",
		}[e.Kind] + " " + e.Chain)
	}
	return fmt.Sprintf("%T", e)
}

// register counts the registers of four bytes; the kernel names those at a multiple of 16 bytes by their older numbers.
func register(number uint32) string {
	if number < unix.NFT_REG32_00 {
		return fmt.Sprintf("r%d", (number-1)*4)
	}
	return fmt.Sprintf("r%d", number-unix.NFT_REG32_00)
}
