package cni

import (
	"fmt"
	"net/netip"
)

// pool hands out the addresses of one pod CIDR in turn, so that an address rests as long as possible before it is used again.
// The first two addresses (network, and one for the overlay) and, for IPv4, the last (broadcast) are never given.
type pool struct {
	prefix netip.Prefix
	last   netip.Addr // given most recently
	used   map[netip.Addr]bool
}

func newPool(prefix netip.Prefix) (*pool, error) {
	prefix = prefix.Masked()
	p := &pool{prefix: prefix, last: prefix.Addr(), used: map[netip.Addr]bool{}}
	if prefix.Addr().BitLen()-prefix.Bits() < 2 {
		return nil, fmt.Errorf("pod CIDR %s has no address for a pod: it needs a prefix length of at most %d", prefix, prefix.Addr().BitLen()-2)
	}
	return p, nil
}

// take gives the next free address.
func (p *pool) take() (netip.Addr, error) {
	addr := p.last
	for range len(p.used) + 4 { // the used, and the three reserved that are skipped
		addr = addr.Next()
		if !p.prefix.Contains(addr) {
			addr = p.prefix.Addr()
		}
		if !p.used[addr] && !p.reserved(addr) {
			p.used[addr], p.last = true, addr
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("all addresses of pod CIDR %s are in use (%d pods)", p.prefix, len(p.used))
}

// takeThis gives one address that was asked for.
func (p *pool) takeThis(addr netip.Addr) error {
	if p.used[addr] || p.reserved(addr) {
		return fmt.Errorf("address %s of pod CIDR %s is in use or reserved", addr, p.prefix)
	}
	p.used[addr] = true
	return nil
}

// adopt marks an address that was given before this process started; the newest must come last.
func (p *pool) adopt(addr netip.Addr) {
	if p.prefix.Contains(addr) {
		p.used[addr], p.last = true, addr
	}
}

func (p *pool) release(addr netip.Addr) { delete(p.used, addr) }

func (p *pool) reserved(addr netip.Addr) bool {
	first := p.prefix.Addr()
	broadcast := addr.Is4() && !p.prefix.Contains(addr.Next())
	return addr == first || addr == first.Next() || broadcast
}
