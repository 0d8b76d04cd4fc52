package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/overlay"
	"kedge/tests/host"
)

// changes is how many changes of one node are measured in each round.
const changes = 20

// program measures how long it takes until a host has learnt of many nodes, and until the kernel tells of the change of one, in ms.
func program(o options) (all, one []float64, err error) {
	for range o.rounds {
		a, b, err := programOnce(o.peers)
		if err != nil {
			return nil, nil, err
		}
		all, one = append(all, a), append(one, b)
	}
	return all, one, nil
}

func programOnce(peers int) (all, one float64, err error) {
	lab, err := host.New(1)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	h := lab.Hosts[0]
	ip, _ := netip.AddrFromSlice(h.IP().To4())
	nodes := []overlay.Node{{Name: h.Name, Addresses: []netip.Addr{ip}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/24")}}}
	for i := 1; i <= peers; i++ {
		high, low := byte(i>>8), byte(i)
		nodes = append(nodes, overlay.Node{
			Name: fmt.Sprint("peer", i), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, high, low})},
			PodCIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 43 + high, low, 0}), 24)},
		})
	}
	over, err := open(h, nodes[0])
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	begin := time.Now()
	for _, n := range nodes {
		over.SetNode(n)
	}
	over.Complete()
	go func() { ended <- over.Run(ctx, func() { close(ready) }) }()
	<-ready
	all = time.Since(begin).Seconds() * 1e3
	told, stop := make(chan netlink.NeighUpdate, 1), make(chan struct{})
	defer close(stop)
	if err := h.InNet(func() error { return netlink.NeighSubscribe(told, stop) }); err != nil {
		return 0, 0, fmt.Errorf("subscribe to neighbours: %w", err)
	}
	var each []float64
	for i := range changes {
		n := nodes[1+i]
		n.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})}
		begin := time.Now()
		over.SetNode(n)
		if err := await(told, n.Addresses[0]); err != nil {
			return 0, 0, err
		}
		each = append(each, time.Since(begin).Seconds()*1e3)
	}
	return all, median(each), nil
}

// await waits until the kernel tells that an FDB entry leads to the address.
func await(told <-chan netlink.NeighUpdate, to netip.Addr) error {
	limit := time.After(5 * time.Second)
	for {
		select {
		case u := <-told:
			if u.Family == unix.AF_BRIDGE && u.IP.Equal(to.AsSlice()) {
				return nil
			}
		case <-limit:
			return fmt.Errorf("no FDB entry leads to %s", to)
		}
	}
}
