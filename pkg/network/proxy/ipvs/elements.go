package ipvs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// elements reads all elements of all sets.
func (r *ruleset) elements() (map[element]bool, error) {
	all := map[element]bool{}
	for _, s := range sets() {
		for _, v6 := range families() {
			found, err := nft.Elements(r.conn, s.definition(v6))
			if err != nil {
				return nil, err
			}
			for _, f := range found {
				e := element{set: s, v6: v6, key: string(f.Key), end: string(f.KeyEnd), value: string(f.Val)}
				if s == setKnown {
					e.value = chainOf(f.Val)
				}
				all[e] = true
			}
		}
	}
	return all, nil
}

// chainOf is the chain that a verdict goes to: attributes with the code and the name (enum nft_verdict_attributes).
func chainOf(verdict []byte) string {
	for b := verdict; len(b) >= unix.SizeofNlAttr; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == unix.NFTA_VERDICT_CHAIN {
			return string(bytes.TrimRight(b[unix.SizeofNlAttr:size], "\x00"))
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return ""
}

func (e element) kernel() nftables.SetElement {
	k := nftables.SetElement{Key: []byte(e.key), KeyEnd: []byte(e.end), Val: []byte(e.value)}
	if e.set == setKnown {
		k.Val, k.VerdictData = nil, &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.value}
	}
	return k
}

// change removes and adds elements in one transaction.
func (r *ruleset) change(remove, add []element) error {
	if err := r.queue(remove, r.conn.SetDeleteElements); err != nil {
		return err
	}
	if err := r.queue(add, r.conn.SetAddElements); err != nil {
		return err
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("remove %d and add %d elements of nftables sets %s*: %w", len(remove), len(add), prefix, err)
	}
	return nil
}

func (r *ruleset) queue(elements []element, queue func(*nftables.Set, []nftables.SetElement) error) error {
	type where struct {
		set set
		v6  bool
	}
	bySet := map[where][]nftables.SetElement{}
	for _, e := range elements {
		at := where{e.set, e.v6}
		bySet[at] = append(bySet[at], e.kernel())
	}
	for at, list := range bySet {
		if err := nft.Chunks(list, at.set.definition(at.v6), queue); err != nil {
			return fmt.Errorf("change nftables set %s: %w", at.set.name(at.v6), err)
		}
	}
	return nil
}

// salvage adds elements of which the kernel refuses some: the others get in.
func (r *ruleset) salvage(add []element) []error {
	err := r.change(nil, add)
	switch {
	case err == nil:
		return nil
	case len(add) == 1:
		return []error{fmt.Errorf("element %x of set %s: %w", add[0].key, add[0].set.name(add[0].v6), err)}
	}
	half := len(add) / 2
	return append(r.salvage(add[:half]), r.salvage(add[half:])...)
}

// marksIn are the firewall marks of entries.
func marksIn(elements map[element]bool) map[entry]uint32 {
	marks := map[entry]uint32{}
	for e := range elements {
		if e.set == setMarks && len(e.value) == 4 {
			if at, ok := entryOf(e); ok {
				marks[at] = binary.NativeEndian.Uint32([]byte(e.value))
			}
		}
	}
	return marks
}

// entryOf is the entry that the element's key begins with.
func entryOf(e element) (entry, bool) {
	size := 4
	if e.v6 {
		size = 16
	}
	if len(e.key) < size+8 {
		return entry{}, false
	}
	addr, ok := netip.AddrFromSlice([]byte(e.key[:size]))
	port := binary.BigEndian.Uint16([]byte(e.key[size+4:]))
	return entry{netip.AddrPortFrom(addr, port), e.key[size]}, ok
}
