package nft

import (
	"fmt"

	"github.com/google/nftables"

	"kedge/pkg/network/nft/wire"
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
		if !repeat(found) {
			break
		}
	}
	return found, nil
}

func repeat(elements []nftables.SetElement) bool {
	r := wire.NewRepeats()
	for _, e := range elements {
		if !e.IntervalEnd { // the next interval may begin there
			r.Add(string(e.Key), string(e.KeyEnd))
		}
	}
	return r.Any()
}
