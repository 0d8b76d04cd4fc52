package wire

import (
	"hash/maphash"
	"slices"
)

// Repeats finds out whether a list has an element twice: then others may be missing (Conn.Elements).
type Repeats struct {
	seed maphash.Seed
	seen []uint64 // hashes; two that are equal by chance do no more than have a list read anew
}

// NewRepeats is for one list.
func NewRepeats() *Repeats { return &Repeats{seed: maphash.MakeSeed()} }

// Add takes the key of one element, with its end for ranges.
func (r *Repeats) Add(key, end string) {
	r.seen = append(r.seen, maphash.Comparable(r.seed, [2]string{key, end}))
}

// Any tells, after the last element, whether one occurred twice.
func (r *Repeats) Any() bool {
	slices.Sort(r.seen)
	return len(slices.Compact(r.seen)) < len(r.seen)
}
