package ipvs

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"

	"kedge/pkg/network/nft"
)

// set is a kind of set or map; each is there once per family.
type set string

const (
	setKnown   set = "known"   // entry → chain of its class
	setMarks   set = "marks"   // entry → firewall mark of connections from outside
	setGuarded set = "guarded" // entries that not everybody may connect to
	setSources set = "sources" // entry and who may connect to it
	setSelf    set = "self"    // endpoints of this node, each as a pair of equal addresses
	setRouted  set = "routed"  // addresses that have to be made local
	setPorts   set = "ports"   // the entries with such addresses
)

func sets() []set {
	return []set{setKnown, setMarks, setGuarded, setSources, setSelf, setRouted, setPorts}
}

func (s set) name(v6 bool) string {
	if v6 {
		return prefix + string(s) + "6"
	}
	return prefix + string(s) + "4"
}

// definition is the set as the kernel knows it.
func (s set) definition(v6 bool) *nftables.Set {
	addr := nftables.TypeIPAddr
	if v6 {
		addr = nftables.TypeIP6Addr
	}
	key := []nftables.SetDatatype{addr, nftables.TypeInetProto, nftables.TypeInetService}
	d := &nftables.Set{Table: nft.Table(), Name: s.name(v6)}
	switch s {
	case setKnown:
		d.IsMap, d.DataType = true, nftables.TypeVerdict
	case setMarks:
		d.IsMap, d.DataType = true, nftables.TypeMark
	case setSources:
		d.Interval, key = true, append(key, addr)
	case setSelf:
		key = []nftables.SetDatatype{addr, addr}
	case setRouted:
		key = []nftables.SetDatatype{addr}
	}
	if d.KeyType = key[0]; len(key) > 1 {
		d.Concatenation, d.KeyType = true, nftables.MustConcatSetType(key...)
	}
	return d
}

// element is an element of one of the sets, comparable.
type element struct {
	set   set
	v6    bool
	key   string
	end   string // of an interval, with setSources
	value string // a chain's name with setKnown, a mark's bytes with setMarks
}

func (e entry) key() string {
	b := append(e.Addr().AsSlice(), e.protocol, 0, 0, 0)
	return string(append(binary.BigEndian.AppendUint16(b, e.Port()), 0, 0))
}

// elements are what the rules have to know about an entry.
func (f front) elements(e entry) []element {
	v6, key := e.Addr().Is6(), e.key()
	all := []element{{set: setKnown, v6: v6, key: key, value: chainName(f.inside, f.outside)}}
	if f.outside == divert {
		all = append(all, element{set: setMarks, v6: v6, key: key, value: string(markBytes(f.mark))})
	}
	if f.routed {
		all = append(all, element{set: setPorts, v6: v6, key: key})
	}
	if len(f.sources) > 0 {
		all = append(all, element{set: setGuarded, v6: v6, key: key})
	}
	for _, p := range f.sources {
		if p.Addr().Is6() == v6 {
			p = p.Masked()
			all = append(all, element{set: setSources, v6: v6, key: key + string(p.Addr().AsSlice()), end: key + string(last(p).AsSlice())})
		}
	}
	return all
}

func selfElement(a netip.Addr) element {
	return element{set: setSelf, v6: a.Is6(), key: string(a.AsSlice()) + string(a.AsSlice())}
}

func routedElement(a netip.Addr) element {
	return element{set: setRouted, v6: a.Is6(), key: string(a.AsSlice())}
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// isEntry tells whether the key begins with an entry.
func (e element) isEntry() bool { return e.set != setSelf && e.set != setRouted }

// entrySize is how many bytes of the key are the entry.
func (e element) entrySize() int {
	if e.v6 {
		return 16 + 8
	}
	return 4 + 8
}
