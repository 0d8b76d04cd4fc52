package nftables

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"

	"kedge/pkg/network/proxy/state"
)

// arrange puts endpoints into an order that differs as little as possible from the former one, since each place is an element of
// a map: those that stay keep their place, new ones take the places of those that left, and the last ones fill what is still empty.
func arrange(former []netip.AddrPort, wanted []state.Endpoint) []netip.AddrPort {
	if len(former) == 0 {
		order := make([]netip.AddrPort, len(wanted))
		for i, e := range wanted {
			order[i] = e.AddrPort
		}
		return order
	}
	isNew := make(map[netip.AddrPort]bool, len(wanted))
	for _, e := range wanted {
		isNew[e.AddrPort] = true
	}
	order := make([]netip.AddrPort, max(len(former), len(wanted)))
	for i, e := range former {
		if isNew[e] {
			order[i], isNew[e] = e, false
		}
	}
	place := 0
	for _, e := range wanted {
		if !isNew[e.AddrPort] {
			continue
		}
		for order[place].IsValid() {
			place++
		}
		order[place] = e.AddrPort
	}
	return closeGaps(order, len(wanted))
}

// closeGaps moves what stands behind the first count places into the gaps before.
func closeGaps(order []netip.AddrPort, count int) []netip.AddrPort {
	place := 0
	for _, e := range order[min(count, len(order)):] {
		if !e.IsValid() {
			continue
		}
		for order[place].IsValid() {
			place++
		}
		order[place] = e
	}
	return slices.Clip(order[:count])
}

// tokensOf gives each endpoint of a pool a number that depends on nothing but the endpoint and the pool, so that what clients are remembered
// with holds across restarts and outlives changes of other endpoints. Two endpoints with equal numbers, one pool in 400,000 with
// 100 endpoints, are kept apart in the order of their addresses.
func tokensOf(order []netip.AddrPort, offset uint32) map[netip.AddrPort]uint32 {
	tokens := make(map[netip.AddrPort]uint32, len(order))
	taken := make(map[uint32]bool, len(order))
	for _, e := range slices.SortedFunc(slices.Values(order), netip.AddrPort.Compare) {
		token := token(e, offset)
		for taken[token] {
			token++
		}
		tokens[e], taken[token] = token, true
	}
	return tokens
}

func token(e netip.AddrPort, offset uint32) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(e.Addr().AsSlice())
	_, _ = h.Write(binary.BigEndian.AppendUint16(nil, e.Port()))
	return h.Sum32() ^ offset
}
