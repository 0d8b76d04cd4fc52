package overlay

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE (linux/if_link.h): the kernel gives the link no address by itself.
const addrGenModeNone = 1

// apply brings the difference into the kernel and counts what it changed. It goes on after an error, so that one peer does not
// keep the others from working. What leads to peers is there before the routes, and longer.
func (k *kernel) apply(want, have State) (changed int, err error) {
	f := &faults{}
	set, remove := difference(want.Links, have.Links)
	for name := range remove {
		f.add(k.deleteLink(name))
		have.forget(name)
	}
	for name, l := range set {
		old, exists := have.Links[name]
		if exists && (old.Alien || old.Local != l.Local) {
			f.add(k.deleteLink(name))
			have.forget(name)
			exists = false
		}
		f.add(k.setLink(name, l, old, exists))
	}
	addresses, formerAddresses := difference(want.Addresses, have.Addresses)
	stations, formerStations := difference(want.Stations, have.Stations)
	neighbours, formerNeighbours := difference(want.Neighbours, have.Neighbours)
	routes, formerRoutes := difference(want.Routes, have.Routes)
	each(f, addresses, k.addAddress)
	each(f, stations, k.setStation)
	each(f, neighbours, k.setNeighbour)
	each(f, formerRoutes, k.deleteRoute)
	each(f, routes, func(to netip.Prefix, r Route) error {
		old, exists := have.Routes[to]
		return k.setRoute(to, r, exists && old.Link != r.Link)
	})
	each(f, formerNeighbours, k.deleteNeighbour)
	each(f, formerStations, k.deleteStation)
	each(f, formerAddresses, k.deleteAddress)
	return f.done, f.err()
}

func each[K comparable, V any](f *faults, all map[K]V, do func(K, V) error) {
	for key, value := range all {
		f.add(do(key, value))
	}
}

func (k *kernel) deleteLink(name string) error {
	delete(k.index, name)
	link, err := k.links.LinkByName(name)
	if err == nil {
		err = k.links.LinkDel(link)
	}
	if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// setLink makes the link, or changes what differs.
func (k *kernel) setLink(name string, want, have Link, exists bool) error {
	if !exists {
		if err := k.addLink(name, want); err != nil {
			return err
		}
		have = Link{MAC: want.MAC, Local: want.Local, MTU: want.MTU, Offload: true}
	}
	link, err := k.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	k.index[name] = link.Attrs().Index
	if have.MAC != want.MAC {
		err = errors.Join(err, k.links.LinkSetHardwareAddr(link, want.MAC[:]))
	}
	if have.MTU != want.MTU {
		err = errors.Join(err, k.links.LinkSetMTU(link, want.MTU))
	}
	if have.Offload != want.Offload {
		err = errors.Join(err, k.setOffload(name, want.Offload))
	}
	if !have.Up {
		err = errors.Join(err, k.links.LinkSetUp(link))
	}
	if err != nil {
		return fmt.Errorf("configure link %s: %w", name, err)
	}
	return nil
}

func (k *kernel) addLink(name string, want Link) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = name, want.MAC[:], want.MTU
	link := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: vni, Port: port, SrcAddr: want.Local.AsSlice()}
	err := k.links.LinkAdd(link)
	if errors.Is(err, unix.EEXIST) {
		if err = k.evict(want.MAC); err == nil {
			err = k.links.LinkAdd(link)
		}
	}
	if err != nil {
		return fmt.Errorf("create VXLAN link %s (VNI %d, port %d/udp, from %s): %w", name, vni, port, want.Local, err)
	}
	if !k.ipv6 {
		return nil
	}
	if err := k.links.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
		return fmt.Errorf("switch off IPv6 link-local address of %s: %w", name, err)
	}
	return nil
}

// evict makes room where a link with the same VNI and port is in the way: the overlay's own if somebody renamed it.
func (k *kernel) evict(own MAC) error {
	all, err := k.links.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, link := range all {
		v, ok := link.(*netlink.Vxlan)
		if !ok || v.VxlanId != vni || v.Port != port {
			continue
		}
		if string(v.HardwareAddr) != string(own[:]) {
			return fmt.Errorf("the link %s has them: remove it, or use --overlay-backend host-gw or none", v.Name)
		}
		if err := k.links.LinkDel(link); err != nil {
			return fmt.Errorf("delete link %s: %w", v.Name, err)
		}
	}
	return nil
}

func (k *kernel) addAddress(a LinkAddr, _ bool) error {
	if err := k.links.AddrReplace(k.ref(a.Link), vtepAddress(a.Addr)); err != nil {
		return fmt.Errorf("add address %s to %s: %w", a.Addr, a.Link, err)
	}
	return nil
}

func (k *kernel) deleteAddress(a LinkAddr, _ bool) error {
	if err := k.links.AddrDel(k.ref(a.Link), vtepAddress(a.Addr)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %s from %s: %w", a.Addr, a.Link, err)
	}
	return nil
}

func vtepAddress(a netip.Addr) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, a.BitLen()))}
	if a.Is6() {
		addr.Flags, addr.ValidLft, addr.PreferedLft = unix.IFA_F_NODAD, math.MaxUint32, math.MaxUint32
	}
	return addr
}

func (k *kernel) station(m LinkMAC, to netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: k.index[m.Link], Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT | netlink.NUD_NOARP,
		HardwareAddr: m.MAC[:], IP: to.AsSlice(),
	}
}

func (k *kernel) setStation(m LinkMAC, to netip.Addr) error {
	if err := k.links.NeighSet(k.station(m, to)); err != nil {
		return fmt.Errorf("set FDB entry %s on %s to %s: %w", m.MAC, m.Link, to, err)
	}
	return nil
}

func (k *kernel) deleteStation(m LinkMAC, to netip.Addr) error {
	if err := k.links.NeighDel(k.station(m, to)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete FDB entry %s on %s: %w", m.MAC, m.Link, err)
	}
	return nil
}

func (k *kernel) neighbour(a LinkAddr, m MAC) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: k.index[a.Link], State: netlink.NUD_PERMANENT, IP: a.Addr.AsSlice(), HardwareAddr: m[:]}
}

func (k *kernel) setNeighbour(a LinkAddr, m MAC) error {
	if err := k.links.NeighSet(k.neighbour(a, m)); err != nil {
		return fmt.Errorf("set neighbour %s on %s to %s: %w", a.Addr, a.Link, m, err)
	}
	return nil
}

func (k *kernel) deleteNeighbour(a LinkAddr, m MAC) error {
	if err := k.links.NeighDel(k.neighbour(a, m)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete neighbour %s on %s: %w", a.Addr, a.Link, err)
	}
	return nil
}

// setRoute replaces what leads to the destination. moved says that it leads over another link now: the kernel does not take an IPv6
// gateway that it reaches over another link, so that the former route has to go first.
func (k *kernel) setRoute(to netip.Prefix, r Route, moved bool) error {
	if moved && to.Addr().Is6() {
		if err := k.deleteRoute(to, r); err != nil {
			return err
		}
	}
	route := &netlink.Route{Dst: ipNet(to), Protocol: protocol}
	if r.Link == "" {
		route.Type = unix.RTN_UNREACHABLE
	} else {
		index, err := k.indexOf(r.Link)
		if err != nil {
			return err
		}
		route.LinkIndex, route.Flags = index, int(netlink.FLAG_ONLINK)
		route.Gw, route.Src = r.Via.AsSlice(), r.Source.AsSlice()
	}
	if err := k.links.RouteReplace(route); err != nil {
		return fmt.Errorf("set route to %s by %s on %s: %w", to, r.Via, r.Link, err)
	}
	return nil
}

func (k *kernel) deleteRoute(to netip.Prefix, _ Route) error {
	err := k.links.RouteDel(&netlink.Route{Dst: ipNet(to), Protocol: protocol})
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("delete route to %s: %w", to, err)
	}
	return nil
}

func (k *kernel) indexOf(link string) (int, error) {
	if i, ok := k.index[link]; ok {
		return i, nil
	}
	found, err := k.links.LinkByName(link)
	if err != nil {
		return 0, fmt.Errorf("find link %s: %w", link, err)
	}
	return found.Attrs().Index, nil
}

// ref names one of the overlay's links to netlink.
func (k *kernel) ref(name string) netlink.Link {
	return &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: name, Index: k.index[name]}}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
