package balancer

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// rank orders the servers for a node by the hash of both names, highest first (rendezvous hashing: a server that comes or goes
// moves only the nodes that it gets or had). The seed is last unless it is one of the servers.
func rank(node string, addresses []string, seed string) []string {
	out := slices.Clone(addresses)
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(weight(node, b), weight(node, a)), cmp.Compare(a, b))
	})
	if !slices.Contains(out, seed) {
		out = append(out, seed)
	}
	return out
}

func weight(node, address string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(address + "\x00" + node)) // never fails
	return mix(h.Sum64())
}

// mix spreads similar hashes: the last bytes of FNV's input move few of its high bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
