package cni

import (
	_ "embed"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"

	"kedge/pkg/network/nft"
)

//go:embed testdata/rules.golden
var golden string

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

// TestRules compares the rules, in the notation of `nft --debug=netlink`, with testdata/rules.golden.
func TestRules(t *testing.T) {
	input := ruleInput{
		podCIDRs:     prefixes("10.42.7.0/24", "fd00:42:0:7::/64"),
		clusterCIDRs: prefixes("10.42.0.0/16"),
		services:     testConfig(t).ServiceVIPs,
		own:          []netip.Addr{netip.MustParseAddr("10.43.0.1"), netip.MustParseAddr("fd00:43::a")},
	}
	var b strings.Builder
	for _, c := range input.plan().Chains {
		fmt.Fprintf(&b, "chain %s", c.Name)
		if c.Hooknum != nil {
			fmt.Fprintf(&b, " (%s, hook %d, priority %d)", c.Type, *c.Hooknum, *c.Priority)
		}
		b.WriteString("\n")
		for _, r := range c.Rules {
			b.WriteString("  " + text(t, r) + "\n")
		}
	}
	if flag.Lookup("update").Value.String() == "true" {
		check(t, os.WriteFile("testdata/rules.golden", []byte(b.String()), 0o600))
	}
	if diff := cmp.Diff(golden, b.String()); diff != "" {
		t.Errorf("rules (-want +got), -update writes them:\n%s", diff)
	}
}

func text(t *testing.T, rule nft.Rule) string {
	t.Helper()
	var words []string
	for _, e := range rule {
		words = append(words, expression(t, e))
	}
	return strings.Join(words, " ")
}

func expression(t *testing.T, e expr.Any) string {
	t.Helper()
	switch e := e.(type) {
	case *expr.Meta:
		name := map[expr.MetaKey]string{
			expr.MetaKeyNFPROTO: "nfproto", expr.MetaKeyL4PROTO: "l4proto", expr.MetaKeyIIFNAME: "iifname", expr.MetaKeyOIFNAME: "oifname",
		}[e.Key]
		return fmt.Sprintf("[meta load %s => %d]", name, e.Register)
	case *expr.Payload:
		base := map[expr.PayloadBase]string{expr.PayloadBaseNetworkHeader: "network", expr.PayloadBaseTransportHeader: "transport"}[e.Base]
		return fmt.Sprintf("[payload %db @ %s+%d => %d]", e.Len, base, e.Offset, e.DestRegister)
	case *expr.Bitwise:
		return fmt.Sprintf("[bitwise %d & %x]", e.SourceRegister, e.Mask)
	case *expr.Cmp:
		return fmt.Sprintf("[cmp %s %d %x]", map[expr.CmpOp]string{expr.CmpOpEq: "eq", expr.CmpOpNeq: "neq"}[e.Op], e.Register, e.Data)
	case *expr.Fib:
		return fmt.Sprintf("[fib daddr type => %d]", e.Register)
	case *expr.Lookup:
		if e.IsDestRegSet {
			return fmt.Sprintf("[lookup %d in %s => %d]", e.SourceRegister, e.SetName, e.DestRegister)
		}
		return fmt.Sprintf("[lookup %d in %s]", e.SourceRegister, e.SetName)
	case *expr.Immediate:
		return fmt.Sprintf("[immediate %d %x]", e.Register, e.Data)
	case *expr.NAT:
		return fmt.Sprintf("[dnat family %d to %d port %d]", e.Family, e.RegAddrMin, e.RegProtoMin)
	case *expr.Masq:
		return fmt.Sprintf("[masquerade random %v]", e.FullyRandom)
	case *expr.Verdict:
		return strings.TrimSpace(map[expr.VerdictKind]string{expr.VerdictDrop: "drop", expr.VerdictReturn: "return", expr.VerdictJump: "jump"}[e.Kind] + " " + e.Chain)
	}
	t.Fatalf("unknown expression %T", e)
	return ""
}
