package kernel

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule is an nftables rule whose acceptance shows that the kernel knows a feature. It matches nothing that matters: the
// network namespace has no traffic.
type rule struct {
	family nftables.TableFamily
	kind   nftables.ChainType
	hook   *nftables.ChainHook
	exprs  []expr.Any
}

func filterRule(exprs ...expr.Any) *rule {
	return &rule{nftables.TableFamilyINet, nftables.ChainTypeFilter, nftables.ChainHookInput, exprs}
}

func natRule(hook *nftables.ChainHook, exprs ...expr.Any) *rule {
	return &rule{nftables.TableFamilyIPv4, nftables.ChainTypeNAT, hook, exprs}
}

func nftCt() *rule         { return filterRule(&expr.Ct{Register: 1, Key: expr.CtKeySTATE}) }
func nftMasquerade() *rule { return natRule(nftables.ChainHookPostrouting, &expr.Masq{}) }

func nftFib() *rule {
	return filterRule(&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true})
}

func nftNumgen() *rule {
	return filterRule(&expr.Numgen{Register: 1, Modulus: 2, Type: unix.NFT_NG_RANDOM})
}

func nftReject() *rule {
	return filterRule(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH})
}

func nftNAT() *rule {
	return natRule(nftables.ChainHookPrerouting,
		&expr.Immediate{Register: 1, Data: []byte{192, 0, 2, 1}},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
}

// tryRules adds rules in one transaction: when the kernel does not know a part of one, nothing is left. A transaction
// costs milliseconds of waiting, however much is in it.
func tryRules(rules ...*rule) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for i, r := range rules {
		t := c.AddTable(&nftables.Table{Name: "kedge-probe", Family: r.family})
		chain := c.AddChain(&nftables.Chain{Name: fmt.Sprintf("probe%d", i), Table: t,
			Type: r.kind, Hooknum: r.hook, Priority: nftables.ChainPriorityFilter})
		if len(r.exprs) > 0 {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: r.exprs})
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("add nftables rule: %w", err)
	}
	return nil
}
