package nftables

import (
	"fmt"
	"time"
)

// class is a way to choose an endpoint, written as a number so that a map can hold it. Chains are made of classes.
//
//	31    the pool for traffic policy Local
//	30    the connection may need another source address
//	29    of a node port: the destination address does not count
//	28    with session affinity: 27–11 its timeout in seconds, 10–0 the number of endpoints;
//	      without: 27–0 the number of endpoints
//
// Without endpoints the connection is refused, and dropped when bit 28 is set.
type class uint32

const (
	classLocal class = 1 << (31 - iota)
	classMark
	classPort
	classSticky

	refuse = class(0)
	drop   = classSticky

	stickyBits = 11
	maxTimeout = 1<<(28-stickyBits) - 1

	// localOffset keeps the endpoints of the pool Local apart from those of Cluster in one map.
	localOffset = 1 << 28
)

// maxEndpoints is how many endpoints a pool can have.
func maxEndpoints(affinity time.Duration) int {
	if affinity > 0 {
		return 1<<stickyBits - 1
	}
	return localOffset - 1
}

func newClass(count int, affinity time.Duration, flags class) class {
	c := flags | class(count)
	if affinity > 0 {
		seconds := min(max(affinity/time.Second, 1), maxTimeout)
		c |= classSticky | class(seconds)<<stickyBits
	}
	return c
}

func (c class) empty() bool { return c == refuse || c == drop }

func (c class) sticky() bool { return c&classSticky != 0 }

func (c class) timeout() time.Duration {
	if !c.sticky() {
		return 0
	}
	return time.Duration(c>>stickyBits&maxTimeout) * time.Second
}

func (c class) count() uint32 {
	if c.sticky() {
		return uint32(c & (1<<stickyBits - 1))
	}
	return uint32(c & (localOffset - 1))
}

// offset is where the numbers of the pool's endpoints begin.
func (c class) offset() uint32 {
	if c&classLocal != 0 {
		return localOffset
	}
	return 0
}

// chain is the name of the chain that chooses an endpoint, or refuses.
func (c class) chain(v6 bool) string {
	switch c {
	case refuse:
		return chainRefuse
	case drop:
		return chainDrop
	}
	name := fmt.Sprintf("%spick%s-%d", prefix, familyDigit(v6), c.count())
	if c&classLocal != 0 {
		name += "-local"
	}
	if c&classPort != 0 {
		name += "-port"
	}
	if c&classMark != 0 {
		name += "-mark"
	}
	if c.sticky() {
		name += fmt.Sprintf("-%ds", c.timeout()/time.Second)
	}
	return name
}
