package nft

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/google/nftables"
)

// readAttempts bounds how often a set is read anew; the kernel takes milliseconds to make room in it.
const readAttempts = 4

// Elements lists the elements of a set. Soon after many were added, while the kernel moves them to a larger table, it hands over some
// twice and others never, and does not say so (package wire); such a list is read anew.
func Elements(conn *nftables.Conn, set *nftables.Set) (found []nftables.SetElement, err error) {
	for range readAttempts {
		if found, err = conn.GetSetElements(set); err != nil {
			return nil, fmt.Errorf("list elements of nftables set %s: %w", set.Name, err)
		}
		if !repeats(found) {
			break
		}
	}
	return found, nil
}

// repeats tells whether an element occurs twice.
func repeats(elements []nftables.SetElement) bool {
	type identity struct {
		key, end string
		isEnd    bool // of an interval: the next one may begin there
	}
	seed, seen := maphash.MakeSeed(), make([]uint64, 0, len(elements))
	for _, e := range elements {
		seen = append(seen, maphash.Comparable(seed, identity{string(e.Key), string(e.KeyEnd), e.IntervalEnd}))
	}
	slices.Sort(seen)
	return len(slices.Compact(seen)) < len(elements)
}
