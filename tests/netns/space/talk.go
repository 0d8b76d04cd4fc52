package space

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What Ask returns when there is no answer.
const (
	Refused     = "refused"     // a TCP reset, or ICMP port unreachable
	Dropped     = "dropped"     // nothing came back in time
	Unreachable = "unreachable" // ICMP says that there is no way, or there is no route
)

// The bytes that a server knows.
const (
	question = '?'
	goAway   = '!'
)

// Serve answers every byte on a TCP or SCTP connection, and every UDP datagram, with the server's name and the address that
// the client seems to have, and resets a TCP connection when Provoke asks for that, until the returned function is called, which also ends the connections.
func (s *Space) Serve(network, address, name string) (stop func(), err error) {
	err = s.Do(func() error {
		if network == "udp" {
			stop, err = serveUDP(address, name)
		} else {
			stop, err = serveStream(network, address, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serve %s %s: %w", network, address, err)
	}
	return stop, nil
}

func serveStream(network, address, name string) (func(), error) {
	listener, err := listen(network, address)
	if err != nil {
		return nil, err
	}
	conns := newConns()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if conns.add(conn) {
				go answer(conn, name, conns)
			}
		}
	}()
	return func() {
		_ = listener.Close()
		conns.closeAll()
	}, nil
}

func answer(conn net.Conn, name string, conns *conns) {
	defer conns.drop(conn)
	line := []byte(name + " " + client(conn.RemoteAddr()) + "\n")
	for b := make([]byte, 1); ; {
		if _, err := conn.Read(b); err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok && b[0] == goAway {
			_ = tcp.SetLinger(0)
			return
		}
		if _, err := conn.Write(line); err != nil {
			return
		}
	}
}

func serveUDP(address, name string) (func(), error) {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	go func() {
		for buffer := make([]byte, 64); ; {
			_, from, err := packets.ReadFrom(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = packets.WriteTo([]byte(name+" "+client(from)+"\n"), from)
			}
		}
	}()
	return func() { _ = packets.Close() }, nil
}

func client(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return netip.MustParseAddr(host).Unmap().WithZone("").String()
}

// Dial opens a connection; from is the address it comes from, any if it is not valid; several may come from one port. UDP is connected,
// so that it learns of ICMP errors.
func (s *Space) Dial(network string, from netip.AddrPort, target string, limit time.Duration) (conn net.Conn, err error) {
	err = s.Do(func() error {
		conn, err = dial(network, from, target, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s %s: %w", network, target, err)
	}
	return conn, nil
}

func dial(network string, from netip.AddrPort, target string, limit time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: limit, Control: sharePort}
	switch {
	case network == "sctp":
		return dialSCTP(from, target, limit)
	case from.IsValid() && network == "udp":
		d.LocalAddr = net.UDPAddrFromAddrPort(from)
	case from.IsValid():
		d.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	if network == "tcp" {
		return dialTCP(d, target)
	}
	return d.Dial(network, target)
}

func sharePort(_, _ string, conn syscall.RawConn) (err error) {
	failed := conn.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(failed, os.NewSyscallError("setsockopt SO_REUSEADDR", err))
}

// Ask connects, asks once and returns the answer, or Refused, Dropped, Unreachable, or another error's text, also when a TCP connection was
// refused but not at its first SYN.
func (s *Space) Ask(network string, from netip.AddrPort, target string, limit time.Duration) string {
	conn, err := s.Dial(network, from, target, limit)
	if err != nil {
		return Verdict(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that no port stays in use after the connection
	}
	defer func() { _ = conn.Close() }()
	return AskOn(conn, limit)
}

// AskOn asks on an open connection.
func AskOn(conn net.Conn, limit time.Duration) string {
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte{question}); err != nil {
		return Verdict(err)
	}
	buffer := make([]byte, 128)
	n, err := conn.Read(buffer)
	if err != nil {
		return Verdict(err)
	}
	return strings.TrimSuffix(string(buffer[:n]), "\n")
}

// Provoke makes the server reset an open connection, and returns what the client sees of that.
func Provoke(conn net.Conn, limit time.Duration) string {
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte{goAway}); err != nil {
		return Verdict(err)
	}
	_, err := conn.Read(make([]byte, 1))
	return Verdict(err)
}

// Verdict names what an error of a connection means.
func Verdict(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EPERM): // the latter is a rule's refusal of what leaves the own host
		return Refused
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return Unreachable
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, io.EOF):
		return "broken: " + err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return Dropped
	}
	return err.Error()
}
