package nftables

import (
	"fmt"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/nft/wire"
)

// affinity is what classes with session affinity have in common: two chains for each time that clients are remembered.
type affinity struct {
	v6      bool
	timeout time.Duration
	port    bool
}

func (f family) affinity(c class) affinity {
	return affinity{f.v6, c.timeout(), c&classPort != 0}
}

func (a affinity) suffix() string {
	suffix := fmt.Sprintf("%s-%ds", familyDigit(a.v6), a.timeout/time.Second)
	if a.port {
		suffix += "-port"
	}
	return suffix
}

func knownChain(a affinity) string    { return prefix + "known" + a.suffix() }
func newcomerChain(a affinity) string { return prefix + "newcomer" + a.suffix() }

func (a affinity) chains() []chain {
	return []chain{
		{wire.Chain{Name: knownChain(a)}, a.knownRules()},
		{wire.Chain{Name: newcomerChain(a)}, a.newcomerRules()},
	}
}

func (a affinity) class() class {
	if a.port {
		return classPort
	}
	return 0
}

// knownRules send a client that is remembered where it went, if that is an endpoint still. Otherwise they return.
func (a affinity) knownRules() []nft.Rule {
	f := family{a.v6}
	return []nft.Rule{nft.Join(
		nft.Family(f.v6), a.client(), f.fetch(sticky, base), setPriority(base), a.remember(unix.NFT_DYNSET_OP_UPDATE),
		f.chosen(f.frontOf(a.class(), base))[len(nft.Family(f.v6)):],
	)}
}

// newcomerRules remember the client with the token of the endpoint whose number is the packet's priority. When no more clients can
// be remembered, the last rule sends it there all the same.
func (a affinity) newcomerRules() []nft.Rule {
	f := family{a.v6}
	front := f.frontOf(a.class(), base)
	number := nft.Rule{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: base + f.words() + 2}}
	return []nft.Rule{
		nft.Join(nft.Family(f.v6), front, number, f.fetch(tokens, base), setPriority(base)),
		nft.Join(nft.Family(f.v6), a.remember(opDelete), a.remember(unix.NFT_DYNSET_OP_UPDATE)),
		f.chosen(front),
	}
}

const opDelete = 2 // NFT_DYNSET_OP_DELETE

// client loads source address and front.
func (a affinity) client() nft.Rule {
	f := family{a.v6}
	return nft.Join(f.address(false, base), f.frontOf(a.class(), base+f.words()))
}

// remember writes the client and the token in the packet's priority to the map of clients, or deletes them there.
func (a affinity) remember(operation uint32) nft.Rule {
	f := family{a.v6}
	data := base + 2*f.words() + 2
	set := &expr.Dynset{SrcRegKey: base, SrcRegData: data, SetName: setName(sticky, f.v6), Operation: operation}
	if operation != opDelete {
		set.Timeout = a.timeout
	}
	return nft.Join(a.client(), nft.Rule{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: data}, set})
}
