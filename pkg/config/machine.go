package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is the machine that the process runs on.
type Host struct{}

var _ Machine = Host{}

// Hostname returns the kernel's host name. It is never looked up in DNS.
func (Host) Hostname() (string, error) { return os.Hostname() }

// Addresses returns the source address of the default route, else the first global address on a link that is up and
// not made for containers, of each IP family.
func (Host) Addresses() ([]netip.Addr, error) {
	links, err := usableLinks()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, fam := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		a, err := defaultSource(fam)
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(links) && !a.IsValid(); i++ {
			if a, err = firstAddress(links[i], fam); err != nil {
				return nil, err
			}
		}
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out, nil
}

// defaultSource returns the address that packets to anywhere leave with; not valid without a default route.
func defaultSource(fam int) (netip.Addr, error) {
	routes, err := netlink.RouteListFiltered(fam, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil && !missing(err) {
		return netip.Addr{}, fmt.Errorf("list routes: %w", err)
	}
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool {
		ones := 0
		if r.Dst != nil {
			ones, _ = r.Dst.Mask.Size()
		}
		return ones != 0 || r.Type != unix.RTN_UNICAST
	})
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return a.Priority - b.Priority })
	for _, r := range routes {
		if a := source(r, fam); a.IsValid() {
			return a, nil
		}
	}
	return netip.Addr{}, nil
}

func source(r netlink.Route, fam int) netip.Addr {
	if a, ok := netip.AddrFromSlice(r.Src); ok && a.Unmap().IsGlobalUnicast() {
		return a.Unmap()
	}
	index := r.LinkIndex
	if len(r.MultiPath) > 0 {
		index = r.MultiPath[0].LinkIndex
	}
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := firstAddress(link, fam) // a link that is gone meanwhile has no address
	return a
}

// firstAddress returns the first address of a link that other machines can use.
func firstAddress(link netlink.Link, fam int) (netip.Addr, error) {
	addrs, err := netlink.AddrList(link, fam)
	if err != nil && !missing(err) {
		return netip.Addr{}, fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, a := range addrs {
		const passing = unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
		temporary := fam == netlink.FAMILY_V6 && a.Flags&unix.IFA_F_TEMPORARY != 0
		ip, ok := netip.AddrFromSlice(a.IP)
		if ok && !temporary && a.Flags&passing == 0 && ip.Unmap().IsGlobalUnicast() {
			return ip.Unmap(), nil
		}
	}
	return netip.Addr{}, nil
}

// usableLinks returns the links that are up and may lead to other machines, in the order of their numbers.
// Service addresses of kedge are on links that are left out.
func usableLinks() ([]netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network links: %w", err)
	}
	links = slices.DeleteFunc(links, func(l netlink.Link) bool {
		up := l.Attrs().Flags&net.FlagUp != 0
		return !up || l.Attrs().Flags&net.FlagLoopback != 0 || forContainers(l.Attrs().Name)
	})
	slices.SortFunc(links, func(a, b netlink.Link) int { return a.Attrs().Index - b.Attrs().Index })
	return links, nil
}

// forContainers tells by its name whether a link was made by a container engine or a pod network.
func forContainers(name string) bool {
	return slices.ContainsFunc([]string{
		"kdg", "kedge", "veth", "docker", "cni", "flannel", "br-", "virbr", "podman", "nerdctl", "lxc", "lxd", "cali", "cilium", "kube-",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// missing tells that a dump was disturbed but usable, or that the kernel has no such address family.
func missing(err error) bool {
	return errors.Is(err, netlink.ErrDumpInterrupted) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}
