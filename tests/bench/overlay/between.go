package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/overlay"
	"kedge/tests/host"
)

const (
	rawLink = "plain"
	rawPort = 4789
	rawVNI  = 99
)

// between measures both ways from the first host to the second, in turn.
func between(o options, ours, raw *figures) (err error) {
	lab, err := host.New(2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	stop, err := join(lab.Hosts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for i, h := range lab.Hosts {
		if err := plain(h, lab.Hosts[1-i], i); err != nil {
			return err
		}
	}
	targets := []struct {
		address string
		*figures
	}{{"10.42.2.0", ours}, {"10.90.0.2", raw}}
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		for i := range targets {
			t := targets[(i+round)%len(targets)] // each goes first in turn
			gigabits, micros, err := measure(lab.Hosts, t.address, o)
			if err != nil {
				return fmt.Errorf("to %s: %w", t.address, err)
			}
			t.gigabits, t.micros = append(t.gigabits, gigabits), append(t.micros, micros)
		}
	}
	return nil
}

// join runs kedge's overlay on all hosts; stop ends it.
func join(hosts []*host.Host) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var nodes []overlay.Node
	for i, h := range hosts {
		ip, _ := netip.AddrFromSlice(h.IP().To4())
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(i + 1), 0}), 24)
		nodes = append(nodes, overlay.Node{Name: h.Name, Addresses: []netip.Addr{ip}, PodCIDRs: []netip.Prefix{cidr}})
	}
	ended := make(chan error, len(hosts))
	for i, h := range hosts {
		o, err := open(h, nodes[i])
		if err != nil {
			cancel()
			return nil, err
		}
		for _, n := range nodes {
			o.SetNode(n)
		}
		o.Complete()
		ready := make(chan struct{})
		go func() { ended <- o.Run(ctx, func() { close(ready) }) }()
		<-ready
	}
	return func() error {
		cancel()
		var errs []error
		for range hosts {
			errs = append(errs, <-ended)
		}
		return errors.Join(errs...)
	}, nil
}

func open(h *host.Host, self overlay.Node) (o *overlay.Overlay, err error) {
	err = h.InNet(func() error {
		o, err = overlay.New(overlay.Config{Backend: overlay.VXLAN, NodeName: self.Name, NodeIPs: self.Addresses}, slog.New(slog.DiscardHandler))
		return err
	})
	return o, err
}

// plain makes a VXLAN link to one peer as one would by hand: 10.90.0.1 and 10.90.0.2.
func plain(h, peer *host.Host, index int) error {
	mac := func(i int) net.HardwareAddr { return net.HardwareAddr{0x02, 0x90, 0, 0, 0, byte(i + 1)} }
	ip := func(i int) net.IP { return net.IPv4(10, 90, 0, byte(i+1)).To4() }
	return h.InNet(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr, attrs.MTU = rawLink, mac(index), 1450
		link := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: rawVNI, Port: rawPort, SrcAddr: h.IP()}
		err := netlink.LinkAdd(link)
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			return fmt.Errorf("make plain link: %w", err)
		}
		return errors.Join(
			netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip(index), Mask: net.CIDRMask(24, 32)}}),
			netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Index, State: netlink.NUD_PERMANENT, IP: ip(1 - index), HardwareAddr: mac(1 - index)}),
			netlink.NeighSet(&netlink.Neigh{
				LinkIndex: link.Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT,
				IP: peer.IP(), HardwareAddr: mac(1 - index),
			}),
		)
	})
}
