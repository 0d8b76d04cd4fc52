package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// subnet is the network of a lab's switch: 10.99.N.0/24 and fd99:N::/64.
type subnet byte

const gateway = 254 // the switch's own last byte, in both families

func (s subnet) v4(last byte) net.IP { return net.IPv4(10, 99, byte(s), last).To4() }

func (s subnet) v6(last byte) net.IP {
	ip := make(net.IP, net.IPv6len)
	ip[0], ip[1], ip[3], ip[15] = 0xfd, 0x99, byte(s), last
	return ip
}

func (s subnet) mac(last byte) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x99, byte(s), 0, 0, last}
}

// outside are addresses of the switch that no host has a link to: hosts reach them by their default route only.
func outside() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4(192, 0, 2, 1).To4(), Mask: net.CIDRMask(32, 32)},
		{IP: net.ParseIP("2001:db8::1"), Mask: net.CIDRMask(128, 128)},
	}
}

// newNetNS makes a network namespace that lives as long as the returned file is open or a process is in it.
func newNetNS() (ns *os.File, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace: %w", err)
		}
		// Addresses serve at once: nobody else is on this link.
		for _, key := range []string{"default", "all"} {
			err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", key, "accept_dad"), []byte("0"), 0)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("turn off duplicate address detection: %w", err)
			}
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// withLinks runs fn with a netlink handle of the network namespace ns.
func withLinks(ns *os.File, fn func(*netlink.Handle) error) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()))
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	return fn(h)
}

// buildSwitch makes the bridge in the switch's network namespace.
func buildSwitch(ns *os.File, s subnet) error {
	return withLinks(ns, func(h *netlink.Handle) error {
		if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", HardwareAddr: s.mac(gateway)}}); err != nil {
			return fmt.Errorf("add bridge: %w", err)
		}
		if err := configure(h, "lo", outside()...); err != nil {
			return err
		}
		return configure(h, "br0", s.on(gateway)...)
	})
}

// on lists the addresses with the given last byte on the switch's network.
func (s subnet) on(last byte) []*net.IPNet {
	return []*net.IPNet{
		{IP: s.v4(last), Mask: net.CIDRMask(24, 32)},
		{IP: s.v6(last), Mask: net.CIDRMask(64, 128)},
	}
}

func configure(h *netlink.Handle, name string, addresses ...*net.IPNet) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	for _, a := range addresses {
		if err := h.AddrAdd(link, &netlink.Addr{IPNet: a, Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a, name, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

func portName(index int) string { return fmt.Sprintf("port%d", index) }

// plug connects a host's network namespace to the switch as eth0.
func plug(sw, ns *os.File, s subnet, index int, defaultRoute bool) error {
	last := byte(index)
	err := withLinks(sw, func(h *netlink.Handle) error {
		bridge, err := h.LinkByName("br0")
		if err != nil {
			return fmt.Errorf("find bridge: %w", err)
		}
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: portName(index), MasterIndex: bridge.Attrs().Index},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns.Fd()), PeerHardwareAddr: s.mac(last),
		}
		if err := h.LinkAdd(veth); err != nil {
			return fmt.Errorf("add veth: %w", err)
		}
		return configure(h, portName(index))
	})
	if err != nil {
		return err
	}
	return withLinks(ns, func(h *netlink.Handle) error {
		if err := configure(h, "lo"); err != nil {
			return err
		}
		if err := configure(h, "eth0", s.on(last)...); err != nil {
			return err
		}
		if !defaultRoute {
			return nil
		}
		return addDefaultRoutes(h, s)
	})
}

func addDefaultRoutes(h *netlink.Handle, s subnet) error {
	link, err := h.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	for _, gw := range []net.IP{s.v4(gateway), s.v6(gateway)} {
		if err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw}); err != nil {
			return fmt.Errorf("add default route by %s: %w", gw, err)
		}
	}
	return nil
}

// unplug removes a host's cable. The kernel would remove it with the host's network namespace, but only some time later.
func unplug(sw *os.File, index int) error {
	return withLinks(sw, func(h *netlink.Handle) error {
		link, err := h.LinkByName(portName(index))
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find port: %w", err)
		}
		if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove port: %w", err)
		}
		return nil
	})
}

// setPort unplugs a host's cable or plugs it in again.
func setPort(sw *os.File, index int, up bool) error {
	return withLinks(sw, func(h *netlink.Handle) error {
		link, err := h.LinkByName(portName(index))
		if err != nil {
			return fmt.Errorf("find port: %w", err)
		}
		if up {
			return h.LinkSetUp(link)
		}
		return h.LinkSetDown(link)
	})
}
