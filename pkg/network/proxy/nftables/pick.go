package nftables

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// base is the first of the four-byte registers, in which keys are put together.
const base = uint32(unix.NFT_REG32_00)

// family makes expressions for packets of one IP family.
type family struct{ v6 bool }

// words is how many registers an address takes.
func (f family) words() uint32 { return addressType(f.v6).Size / 4 }

// address loads the source or the destination address (RFC 791 section 3.1, RFC 8200 section 3).
func (f family) address(destination bool, register uint32) nft.Rule {
	size := addressType(f.v6).Size
	offset := uint32(12)
	if f.v6 {
		offset = 8
	}
	if destination {
		offset += size
	}
	return nft.Rule{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
}

// front loads destination address, protocol and destination port.
func (f family) front(register uint32) nft.Rule {
	return nft.Join(f.address(true, register), protocolAndPort(register+f.words()))
}

// anyFront is front for node ports.
func (f family) anyFront(register uint32) nft.Rule {
	return nft.Join(
		nft.Rule{&expr.Immediate{Register: register, Data: unspecified(f.v6).AsSlice()}},
		protocolAndPort(register+f.words()),
	)
}

func protocolAndPort(register uint32) nft.Rule {
	return nft.Rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Payload{DestRegister: register + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

// lookup matches when the key that begins in the first register is in the set.
func (f family) lookup(id setID) nft.Rule {
	return nft.Rule{&expr.Lookup{SourceRegister: base, SetName: setName(id, f.v6)}}
}

// fetch replaces the key that begins in the first register by its data in the map, or follows its verdict.
func (f family) fetch(id setID, register uint32) nft.Rule {
	return nft.Rule{&expr.Lookup{SourceRegister: base, DestRegister: register, IsDestRegSet: true, SetName: setName(id, f.v6)}}
}

// pickRules are the rules of the chain of a class: a random number, and on to where its endpoint is looked up. Such a chain refers to no
// map, because the kernel examines all of a map when a rule refers to it, and these chains come and go.
func (f family) pickRules(c class) []nft.Rule {
	random := nft.Rule{&expr.Numgen{Register: base, Modulus: c.count(), Type: unix.NFT_NG_RANDOM, Offset: c.offset()}}
	var rules []nft.Rule
	if c&classMark != 0 {
		rules = append(rules, setMark())
	}
	next := f.chosenChain(c)
	if c.sticky() {
		rules = append(rules, nft.Jump(knownChain(f.affinity(c))))
		next = newcomerChain(f.affinity(c))
	}
	return append(rules, nft.Join(random, setPriority(base), goTo(next)))
}

// chosenChain translates to the endpoint whose number is the packet's priority.
func (f family) chosenChain(c class) string {
	name := prefix + "chosen" + familyDigit(f.v6)
	if c&classPort != 0 {
		name += "-port"
	}
	return name
}

// chosenRules drop the packet when its endpoint has gone since the class was looked up, one lookup ago: its sender sends it again, while
// a connection that passed untranslated would stay so.
func (f family) chosenRules(c class) []nft.Rule {
	return []nft.Rule{f.chosen(f.frontOf(c, base)), nft.Drop()}
}

// chosen translates to the endpoint of a front whose number or token is the packet's priority.
func (f family) chosen(front nft.Rule) nft.Rule {
	number := nft.Rule{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: base + f.words() + 2}}
	return nft.Join(nft.Family(f.v6), front, number, f.fetch(endpoints, base), f.translate())
}

// frontOf loads what a connection of the class is looked up by.
func (f family) frontOf(c class, register uint32) nft.Rule {
	if c&classPort != 0 {
		return f.anyFront(register)
	}
	return f.front(register)
}

// translate sends the connection to the address in the first register and the port in the next, and ends the loan of the priority.
func (f family) translate() nft.Rule {
	free := base + f.words() + 1
	return nft.Join(
		nft.Rule{&expr.Immediate{Register: free, Data: make([]byte, 4)}}, setPriority(free),
		nft.Rule{&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: f.number(), Specified: true, RegAddrMin: base, RegProtoMin: base + f.words(),
		}},
	)
}

func (f family) number() uint32 {
	if f.v6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}
