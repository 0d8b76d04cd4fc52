package cni

import (
	"fmt"
	"net/netip"
	"strings"

	"kedge/pkg/network/cni/wire"
)

// allocate takes addresses for the attachment, one of each pod CIDR or those asked for, and enters it.
func (n *Network) allocate(a *attachment, asked []string) error {
	err := n.tryAllocate(a, asked)
	if err == nil || !n.sweep() {
		return err
	}
	return n.tryAllocate(a, asked)
}

func (n *Network) tryAllocate(a *attachment, asked []string) (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pools) == 0 {
		return &wire.Error{Code: wire.CodeAgain, Msg: notConfigured}
	}
	if old := n.attached[a.key()]; old != nil {
		return &wire.Error{Code: wire.CodeInternal, Msg: fmt.Sprintf("container %s has %s already, with %v: call DEL first", a.ContainerID, a.IfName, old.Addresses)}
	}
	a.Addresses = nil
	defer func() {
		if err != nil {
			n.releaseAddresses(a)
		}
	}()
	for _, p := range n.pools {
		addr, err := takeFrom(p, asked)
		if err != nil {
			return &wire.Error{Code: wire.CodeAgain, Msg: err.Error()}
		}
		a.Addresses = append(a.Addresses, addr)
	}
	n.sequence++
	a.Sequence = n.sequence
	n.attached[a.key()] = a
	return nil
}

// takeFrom takes the address that is asked for in the pool's CIDR, or else the next free one.
func takeFrom(p *pool, asked []string) (netip.Addr, error) {
	for _, text := range asked {
		bare, _, _ := strings.Cut(text, "/")
		addr, err := netip.ParseAddr(bare)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("runtimeConfig.ips: %w", err)
		}
		if p.prefix.Contains(addr) {
			return addr, p.takeThis(addr)
		}
	}
	return p.take()
}

// release forgets the attachment and frees its addresses.
func (n *Network) release(a *attachment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.attached, a.key())
	n.releaseAddresses(a)
}

func (n *Network) releaseAddresses(a *attachment) {
	for _, addr := range a.Addresses {
		for _, p := range n.pools {
			p.release(addr)
		}
	}
}

func (n *Network) lookup(key string) *attachment {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attached[key]
}

func (n *Network) everyAttachment() []*attachment {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*attachment, 0, len(n.attached))
	for _, a := range n.attached {
		all = append(all, a)
	}
	return all
}
