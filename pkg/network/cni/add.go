package cni

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netns"

	"kedge/pkg/network/cni/wire"
)

// add gives a pod its network, or leaves nothing behind.
func (n *Network) add(c call) (*wire.Result, error) {
	target, err := openNetns(c.Netns)
	if err != nil {
		return nil, err
	}
	defer func() { _ = target.Close() }()
	a, err := n.newAttachment(c)
	if err != nil {
		return nil, err
	}
	if err := n.attach(a, target, c.conf.Runtime.Bandwidth); err != nil {
		return nil, errors.Join(err, n.detach(a))
	}
	return n.result(a, c.conf.CNIVersion), nil
}

// openNetns opens the pod's network namespace and refuses the host's own.
func openNetns(path string) (netns.NsHandle, error) {
	target, err := netns.GetFromPath(path)
	if err != nil {
		return netns.None(), &wire.Error{Code: wire.CodeEnvironment, Msg: "open network namespace " + path, Details: err.Error()}
	}
	own, err := netns.GetFromPath("/proc/thread-self/ns/net")
	if err != nil {
		return netns.None(), errors.Join(fmt.Errorf("open the host's network namespace: %w", err), target.Close())
	}
	defer func() { _ = own.Close() }()
	if own.Equal(target) {
		_ = target.Close()
		return netns.None(), &wire.Error{Code: wire.CodeEnvironment, Msg: "CNI_NETNS " + path + " is the host's network namespace"}
	}
	return target, nil
}

// newAttachment decides all that the pod gets and notes it, before the kernel knows anything.
func (n *Network) newAttachment(c call) (*attachment, error) {
	a := &attachment{
		ContainerID: c.ContainerID, IfName: c.IfName, Pod: c.pod(), Netns: c.Netns,
		HostLink: hostLinkName(c.ContainerID, c.IfName),
		MAC:      podMAC(c.ContainerID, c.IfName).String(),
		Ports:    c.conf.Runtime.PortMappings,
	}
	if mac := c.conf.Runtime.MAC; mac != "" {
		if _, err := net.ParseMAC(mac); err != nil {
			return nil, &wire.Error{Code: wire.CodeConfig, Msg: "runtimeConfig.mac", Details: err.Error()}
		}
		a.MAC = mac
	}
	for _, p := range a.Ports {
		if _, _, err := portElement(p, netip.IPv4Unspecified()); err != nil {
			return nil, &wire.Error{Code: wire.CodeConfig, Msg: "runtimeConfig.portMappings", Details: err.Error()}
		}
	}
	if err := n.allocate(a, c.conf.Runtime.IPs); err != nil {
		return nil, err
	}
	return a, nil
}

// attach brings the attachment into the kernel; the record comes first.
func (n *Network) attach(a *attachment, target netns.NsHandle, limit wire.Bandwidth) error {
	if err := n.store.save(a); err != nil {
		return fmt.Errorf("record the addresses of pod %s: %w", a.Pod, err)
	}
	if err := n.plumb(a, target); err != nil {
		return err
	}
	if err := n.shape(a, target, limit); err != nil {
		return err
	}
	if err := n.fw.add(a); err != nil {
		return fmt.Errorf("open host ports of pod %s: %w", a.Pod, err)
	}
	return n.flushUDP(a)
}

func (n *Network) result(a *attachment, version string) *wire.Result {
	host := wire.Interface{Name: a.HostLink, MAC: gatewayMAC().String()}
	pod := wire.Interface{Name: a.IfName, MAC: a.MAC, Sandbox: a.Netns}
	if version != wire.Version100 {
		host.MTU = n.podMTU()
		pod.MTU = host.MTU
	}
	r := &wire.Result{CNIVersion: version, Interfaces: []wire.Interface{host, pod}}
	for _, addr := range a.Addresses {
		gw := gateway(addr.Is6())
		all, _ := netip.AddrFromSlice(everything(addr.Is6()).IP)
		r.IPs = append(r.IPs, wire.IP{Address: netip.PrefixFrom(addr, addr.BitLen()), Gateway: gw, Interface: 1})
		r.Routes = append(r.Routes, wire.Route{Dst: netip.PrefixFrom(all, 0), GW: gw})
	}
	return r
}
