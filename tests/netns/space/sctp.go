package space

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// HasSCTP says whether the kernel has SCTP, and why not.
func HasSCTP() error {
	fd, err := socketSCTP(false)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// socketSCTP makes a socket in one-to-one style (RFC 6458 section 4), which is used like one of TCP.
func socketSCTP(v6 bool) (int, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return 0, fmt.Errorf("make an SCTP socket: %w", err)
	}
	return fd, nil
}

func listen(network, address string) (net.Listener, error) {
	if network != "sctp" {
		return net.Listen(network, address)
	}
	at, err := parse(address)
	if err != nil {
		return nil, err
	}
	fd, err := socketSCTP(at.Addr().Is6())
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "sctp")
	defer func() { _ = file.Close() }()
	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return net.FileListener(file) // to Go it is a TCP listener
}

func dialSCTP(from netip.AddrPort, target string, limit time.Duration) (net.Conn, error) {
	to, err := parse(target)
	if err != nil {
		return nil, err
	}
	fd, err := socketSCTP(to.Addr().Is6())
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "sctp")
	defer func() { _ = file.Close() }()
	if from.IsValid() {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return nil, fmt.Errorf("share the port: %w", err)
		}
		if err := unix.Bind(fd, sockaddr(from)); err != nil {
			return nil, fmt.Errorf("bind: %w", err)
		}
	}
	if err := connect(fd, to, time.Now().Add(limit)); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return net.FileConn(file)
}

// connect waits until a connection is open, or refused, or the deadline is over. The socket does not block: of SCTP, connect(2) with
// SO_SNDTIMEO fails with EINTR at any signal (signal(7)), and Go's runtime sends them.
func connect(fd int, to netip.AddrPort, deadline time.Time) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("set O_NONBLOCK: %w", err)
	}
	if err := unix.Connect(fd, sockaddr(to)); err == nil || !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		n, err := unix.Poll(poll, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if n > 0 {
			break
		}
	}
	failed, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("get SO_ERROR: %w", err)
	}
	if failed != 0 {
		return unix.Errno(failed)
	}
	return nil
}

// parse reads an address and port; ":80" is any IPv6 or IPv4 address.
func parse(address string) (netip.AddrPort, error) {
	if address[0] == ':' {
		address = "[::]" + address
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return at, fmt.Errorf("parse address: %w", err)
	}
	return at, nil
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}
