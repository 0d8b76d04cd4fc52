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

// pickRules are the rules of the chain of a class.
func (f family) pickRules(c class) []nft.Rule {
	key := nft.Join(nft.Family(f.v6), f.front(base))
	if c&classPort != 0 {
		key = nft.Join(nft.Family(f.v6), f.anyFront(base))
	}
	index := base + f.words() + 2
	random := nft.Rule{&expr.Numgen{Register: index, Modulus: c.count(), Type: unix.NFT_NG_RANDOM, Offset: c.offset()}}
	var rules []nft.Rule
	if c&classMark != 0 {
		rules = append(rules, setMark())
	}
	if !c.sticky() {
		return append(rules, nft.Join(key, random, f.fetch(endpoints, base), f.translate()))
	}
	token := nft.Join(key, nft.Rule{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: index}})
	pick := nft.Join(key, random, f.fetch(tokens, base), setPriority(base))
	chosen := nft.Join(token, f.fetch(endpoints, base), f.translate())
	return append(
		rules,
		// A client that is known goes where it went, if that is still an endpoint.
		nft.Join(f.client(c), f.fetch(sticky, base), setPriority(base), f.remember(c, unix.NFT_DYNSET_OP_UPDATE), chosen),
		nft.Join(pick, f.remember(c, opDelete), f.remember(c, unix.NFT_DYNSET_OP_UPDATE), chosen),
		// The map of clients is full.
		nft.Join(pick, chosen),
	)
}

const opDelete = 2 // NFT_DYNSET_OP_DELETE

// client loads source address and front.
func (f family) client(c class) nft.Rule {
	front := f.front(base + f.words())
	if c&classPort != 0 {
		front = f.anyFront(base + f.words())
	}
	return nft.Join(nft.Family(f.v6), f.address(false, base), front)
}

// remember writes the client and the token in the packet's priority to the map of clients, or deletes them there.
func (f family) remember(c class, operation uint32) nft.Rule {
	data := base + 2*f.words() + 2
	set := &expr.Dynset{SrcRegKey: base, SrcRegData: data, SetName: setName(sticky, f.v6), Operation: operation}
	if operation != opDelete {
		set.Timeout = c.timeout()
	}
	return nft.Join(f.client(c)[2:], nft.Rule{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: data}, set})
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
