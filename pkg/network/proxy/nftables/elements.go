package nftables

import (
	"net/netip"

	"kedge/pkg/network/nft/wire"
	"kedge/pkg/network/proxy/state"
)

// classes are those of a front: for connections from inside, and for those from outside when the answer differs.
func (c claim) classes() (inside class, outer class, differs bool) {
	f := c.frontend
	differs = f.Outside != f.Inside || f.KeepSource
	inside = c.class(f.Inside, 0)
	if differs {
		var flags class
		if !f.KeepSource {
			flags = classMark
		}
		outer = c.class(f.Outside, flags)
	}
	return inside, outer, differs
}

func (c claim) class(pool state.Pool, flags class) class {
	count := len(c.pools[pool])
	switch {
	case count > 0:
	case c.Endpoints:
		return drop
	default:
		return refuse
	}
	if pool == state.Local {
		flags |= classLocal
	}
	if c.frontend.Kind == state.NodePort {
		flags |= classPort
	}
	return newClass(count, c.Affinity, flags)
}

// write calls add with every element of the front.
func (c claim) write(f front, add func(setID, wire.Element)) {
	key := string(f.key())
	inside, outer, differs := c.classes()
	add(services, wire.Element{Key: key, Val: word(uint32(inside))})
	c.writePool(f, c.frontend.Inside, inside, add)
	if differs {
		add(outside, wire.Element{Key: key, Val: word(uint32(outer))})
	}
	if c.frontend.Outside != c.frontend.Inside {
		c.writePool(f, c.frontend.Outside, outer, add)
	}
	if len(c.frontend.Sources) > 0 {
		add(guarded, wire.Element{Key: key})
	}
	for _, p := range c.frontend.Sources {
		if p.Addr().Is6() == f.v6() {
			add(sources, wire.Element{Key: key + string(p.Masked().Addr().AsSlice()), End: key + string(last(p).AsSlice())})
		}
	}
}

func (c claim) writePool(f front, pool state.Pool, of class, add func(setID, wire.Element)) {
	if of.empty() {
		return
	}
	order, offset := c.pools[pool], of.offset()
	if !of.sticky() {
		for i, e := range order {
			add(endpoints, wire.Element{Key: f.indexed(offset + uint32(i)), Val: target(e)})
		}
		return
	}
	numbers := tokensOf(order, offset)
	for i, e := range order {
		add(tokens, wire.Element{Key: f.indexed(offset + uint32(i)), Val: word(numbers[e])})
		add(endpoints, wire.Element{Key: f.indexed(numbers[e]), Val: target(e)})
	}
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	addr := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(addr)*8; i++ {
		addr[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(addr)
	return end
}

// localElement says that an address is on this node.
func localElement(a netip.Addr) wire.Element {
	return wire.Element{Key: string(append(a.AsSlice(), a.AsSlice()...))}
}

// nodePortElements are the addresses that answer node ports. Those of loopback do not: an answer to 127.0.0.1 would need the
// kernel to let such addresses in and out of the machine.
func nodePortElements(node state.Node, v6 bool) []wire.Element {
	var all []wire.Element
	for _, a := range node.NodePortAddresses {
		if a.Is6() == v6 && !a.IsLoopback() && !a.IsUnspecified() {
			all = append(all, wire.Element{Key: string(a.AsSlice())})
		}
	}
	return all
}
