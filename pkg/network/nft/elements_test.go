package nft

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
)

// TestElements: a set is read whole, also while the kernel still makes room for its elements, which not every round meets.
func TestElements(t *testing.T) {
	const n, rounds = 12400, 10 // the last 112 make the kernel double its table
	ports := PortMap{Name: "ports", ByAddress: true}
	var elements []nftables.SetElement
	for i := range n {
		at := netip.AddrFrom4([4]byte{10, 43, byte(i >> 8), byte(i)})
		elements = append(elements, ports.Element(at, 6, 80, netip.AddrPortFrom(at, 8080)))
	}
	for round := range rounds {
		conn, set := fresh(t), ports.Set()
		conn.AddTable(Table())
		err := conn.AddSet(set, nil)
		for part := range slices.Chunk(elements, 1000) { // what the socket takes at once
			err = errors.Join(err, Chunks(part, set, conn.SetAddElements), conn.Flush())
		}
		if err != nil {
			t.Fatal(err)
		}
		found, err := Elements(conn, set)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, e := range found {
			seen[string(e.Key)] = true
		}
		if len(found) != n || len(seen) != n {
			t.Errorf("round %d: %d elements, %d different ones, want %d", round, len(found), len(seen), n)
		}
	}
}
