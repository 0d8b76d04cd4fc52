package e2e

import (
	"fmt"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// firewall is the name of the tests' nftables table on a host.
const firewall = "firewall"

// refuseInbound makes a host like one behind NAT: what it began goes on, nothing else comes in.
func (n *node) refuseInbound(t testing.TB) {
	t.Helper()
	established := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	n.filter(t, nftables.ChainHookInput, nftables.ChainPolicyDrop,
		[]expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte("lo\x00")},
			&expr.Verdict{Kind: expr.VerdictAccept},
		},
		[]expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: established, Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
			&expr.Verdict{Kind: expr.VerdictAccept},
		})
}

// silence makes a host send nothing more to a TCP port of others, not even acknowledgements.
func (n *node) silence(t testing.TB, port uint16) {
	t.Helper()
	n.filter(t, nftables.ChainHookOutput, nftables.ChainPolicyAccept, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	})
}

// filter adds a chain with rules of its own to a host.
func (n *node) filter(t testing.TB, hook *nftables.ChainHook, policy nftables.ChainPolicy, rules ...[]expr.Any) {
	t.Helper()
	err := n.InNet(func() error {
		c, err := nftables.New()
		if err != nil {
			return fmt.Errorf("connect to nftables: %w", err)
		}
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: firewall})
		chain := c.AddChain(&nftables.Chain{
			Name: "filter", Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityRaw, Policy: &policy,
		})
		if hook == nftables.ChainHookInput { // after connection tracking
			chain.Priority = nftables.ChainPriorityFilter
		}
		for _, r := range rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r})
		}
		return c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// openFirewall removes what the others added.
func (n *node) openFirewall(t testing.TB) {
	t.Helper()
	err := n.InNet(func() error {
		c, err := nftables.New()
		if err != nil {
			return fmt.Errorf("connect to nftables: %w", err)
		}
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: firewall})
		return c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
}
