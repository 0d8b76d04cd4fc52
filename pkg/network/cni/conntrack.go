package cni

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// udpFlows picks connection tracking entries of UDP that a host port's coming or going makes wrong. A UDP client that keeps
// sending from one port would else keep the translation, or the lack of it, that its first datagram met.
type udpFlows struct {
	ports map[uint16]bool     // host ports
	pods  map[netip.Addr]bool // of the pod: entries that were translated to it
	local map[netip.Addr]bool // of the host: entries to them that were not translated
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (u udpFlows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP || !u.ports[flow.Forward.DstPort] {
		return false
	}
	answers, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
	asked, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	answers, asked = answers.Unmap(), asked.Unmap()
	return u.pods[answers] || (answers == asked && u.local[asked])
}

// flushUDP forgets the UDP connections of the attachment's host ports. Without UDP host ports it does nothing.
func (n *Network) flushUDP(a *attachment) error {
	flows := udpFlows{ports: map[uint16]bool{}, pods: map[netip.Addr]bool{}, local: map[netip.Addr]bool{}}
	for _, m := range a.Ports {
		if number, err := protocolNumber(m.Protocol); err == nil && number == unix.IPPROTO_UDP {
			flows.ports[m.HostPort] = true
		}
	}
	if len(flows.ports) == 0 {
		return nil
	}
	addrs, err := n.links.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list the host's addresses: %w", err)
	}
	for _, a := range addrs {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			flows.local[addr.Unmap()] = true
		}
	}
	for _, addr := range a.Addresses {
		flows.pods[addr] = true
		family := netlink.InetFamily(unix.AF_INET)
		if addr.Is6() {
			family = unix.AF_INET6
		}
		if _, err := n.links.ConntrackDeleteFilters(netlink.ConntrackTable, family, flows); err != nil {
			return fmt.Errorf("forget UDP connections of host ports of pod %s: %w", addr, err)
		}
	}
	return nil
}
