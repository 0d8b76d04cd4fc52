package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// eventBuffer holds what the kernel tells while a thousand peers are programmed, in bytes.
const eventBuffer = 8 << 20

// notifications receives what the kernel tells about links, addresses, neighbours and routes (rtnetlink(7)).
type notifications struct {
	file *os.File
	raw  syscall.RawConn
}

// batch is what came at once; lost says that some of it did not fit into the buffer.
type batch struct {
	messages []syscall.NetlinkMessage
	lost     bool
}

// openNotifications subscribes in the network namespace of the calling thread.
func openNotifications() (*notifications, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink for notifications: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink notifications")
	groups := uint32(0)
	for _, g := range []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	} {
		groups |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to netlink notifications: %w", err), file.Close())
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer) // less is fine: what is lost is noticed
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use netlink notifications: %w", err), file.Close())
	}
	return &notifications{file: file, raw: raw}, nil
}

// deliver sends batches until ctx ends or the socket fails.
func (n *notifications) deliver(ctx context.Context, to chan<- batch) error {
	defer context.AfterFunc(ctx, func() { _ = n.file.Close() })()
	buffer := make([]byte, 64<<10)
	for {
		var size int
		var failed error
		err := n.raw.Read(func(fd uintptr) bool {
			size, _, failed = unix.Recvfrom(int(fd), buffer, 0)
			return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
		})
		if ctx.Err() != nil {
			return nil
		}
		b := batch{lost: errors.Is(failed, unix.ENOBUFS)}
		if err = errors.Join(err, failed); err != nil && !b.lost {
			return fmt.Errorf("receive netlink notifications: %w", err)
		}
		if !b.lost {
			if b.messages, err = syscall.ParseNetlinkMessage(append([]byte(nil), buffer[:size]...)); err != nil {
				b.lost = true
			}
		}
		select {
		case to <- b:
		case <-ctx.Done():
			return nil
		}
	}
}

// mirror is what the kernel is known to hold. It tells others' changes from the echo of our own.
type mirror struct {
	State
	index    map[string]int // of the overlay's links
	own      []netip.Addr   // this node's addresses
	underlay []Underlay     // those that are on a link
}

// foreign tells whether a notification says that something of the overlay, or that it depends on, is not as the mirror has it.
func (m *mirror) foreign(message syscall.NetlinkMessage) bool {
	switch kind, data := message.Header.Type, message.Data; kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return m.foreignLink(kind == unix.RTM_DELLINK, data)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return m.foreignAddress(kind == unix.RTM_DELADDR, data)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return m.foreignNeighbour(kind == unix.RTM_DELNEIGH, data)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return m.foreignRoute(kind == unix.RTM_DELROUTE, data)
	}
	return false
}

func (m *mirror) foreignLink(gone bool, data []byte) bool {
	if len(data) < unix.SizeofIfInfomsg {
		return false
	}
	info := nl.DeserializeIfInfomsg(data)
	attributes, err := nl.ParseRouteAttrAsMap(data[info.Len():])
	if err != nil || info.Family == unix.AF_BRIDGE {
		return false
	}
	name := text(attributes[unix.IFLA_IFNAME].Value)
	mtu := number(attributes[unix.IFLA_MTU].Value)
	for _, u := range m.underlay {
		if u.Link == name && (gone || info.Flags&unix.IFF_UP == 0 || mtu != u.MTU && info.Flags&unix.IFF_LOOPBACK == 0 || m.misses(u)) {
			return true
		}
	}
	if name != linkV4 && name != linkV6 {
		return m.named(int(info.Index)) != "" // renamed
	}
	l, ok := m.Links[name]
	return gone == ok || ok && (m.index[name] != int(info.Index) || mtu != l.MTU || info.Flags&unix.IFF_UP == 0 ||
		string(attributes[unix.IFLA_ADDRESS].Value) != string(l.MAC[:]))
}

// misses tells whether routes over a link were to exist: the kernel removes them without a word when the link goes down.
func (m *mirror) misses(u Underlay) bool {
	for _, r := range m.Routes {
		if r.Link == u.Link {
			return true
		}
	}
	return false
}

func (m *mirror) foreignAddress(gone bool, data []byte) bool {
	if len(data) < unix.SizeofIfAddrmsg {
		return false
	}
	info := nl.DeserializeIfAddrmsg(data)
	attributes, err := nl.ParseRouteAttrAsMap(data[info.Len():])
	if err != nil {
		return false
	}
	value := attributes[unix.IFA_LOCAL].Value
	if value == nil {
		value = attributes[unix.IFA_ADDRESS].Value
	}
	a := address(value)
	if name := m.named(int(info.Index)); name != "" {
		return m.Addresses[LinkAddr{name, a}] == gone
	}
	for _, u := range m.underlay {
		if u.Address == a {
			return gone || netip.PrefixFrom(a, int(info.Prefixlen)).Masked() != u.Subnet
		}
	}
	return !gone && slices.Contains(m.own, a)
}

func (m *mirror) foreignNeighbour(gone bool, data []byte) bool {
	n, err := netlink.NeighDeserialize(data)
	if err != nil {
		return false
	}
	name := m.named(n.LinkIndex)
	if name == "" {
		return false
	}
	if n.Family == unix.AF_BRIDGE {
		to, ok := m.Stations[LinkMAC{name, hardware(*n)}]
		return gone == ok || ok && to != address(n.IP)
	}
	mac, ok := m.Neighbours[LinkAddr{name, address(n.IP)}]
	permanent := n.State&netlink.NUD_PERMANENT != 0
	if gone || !ok {
		return gone && ok || !gone && permanent
	}
	return !permanent || mac != hardware(*n)
}

func (m *mirror) foreignRoute(gone bool, data []byte) bool {
	if len(data) < unix.SizeofRtMsg {
		return false
	}
	info := nl.DeserializeRtMsg(data)
	attributes, err := nl.ParseRouteAttrAsMap(data[info.Len():])
	if err != nil || info.Table != unix.RT_TABLE_MAIN {
		return false
	}
	to := netip.PrefixFrom(address(attributes[unix.RTA_DST].Value), int(info.Dst_len))
	r, ok := m.Routes[to]
	if gone || info.Protocol != uint8(protocol) {
		return ok // removed, or replaced by another's
	}
	found := Route{Via: address(attributes[unix.RTA_GATEWAY].Value), Source: address(attributes[unix.RTA_PREFSRC].Value)}
	found.Link = r.Link // the gateway decides
	return !ok || found != r
}

// named is the name of the overlay's link with this number, empty if it is none of them.
func (m *mirror) named(index int) string {
	for name, i := range m.index {
		if i == index {
			return name
		}
	}
	return ""
}

func text(value []byte) string {
	if n := len(value); n > 0 {
		return string(value[:n-1]) // without the final zero
	}
	return ""
}

func number(value []byte) int {
	if len(value) < 4 {
		return 0
	}
	return int(nl.NativeEndian().Uint32(value))
}
