package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	messageHeader = unix.SizeofNlMsghdr
	familyHeader  = 4 // struct nfgenmsg
	inet          = 1 // NFPROTO_INET

	receiveBuffer = 1 << 16 // the kernel fills up to half of it with each part of a dump
	socketReceive = 8 << 20 // for one error per element of a refused transaction
	dumpAttempts  = 4
)

// errInterrupted says that tables changed while one was read.
var errInterrupted = errors.New("nf_tables changed while it was read")

// Conn is a netlink socket of nf_tables.
type Conn struct {
	table  string
	fd     int
	port   uint32
	seq    uint32
	send   int // size of the socket's send buffer
	buffer []byte
}

// Open opens a socket in the network namespace of the calling thread, for a table of the inet family.
func Open(table string) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket of nf_tables: %w", err)
	}
	c := &Conn{table: table, fd: fd, buffer: make([]byte, receiveBuffer)}
	if err := c.prepare(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Conn) prepare() error {
	if err := unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind netlink socket: %w", err)
	}
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return fmt.Errorf("read name of netlink socket: %w", err)
	}
	if name, ok := name.(*unix.SockaddrNetlink); ok {
		c.port = name.Pid
	}
	// Acknowledgements need not repeat what was sent.
	if err := unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		return fmt.Errorf("set NETLINK_CAP_ACK: %w", err)
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketReceive); err != nil {
		return fmt.Errorf("set SO_RCVBUFFORCE of netlink socket (CAP_NET_ADMIN of the machine is needed): %w", err)
	}
	return nil
}

// Close releases the socket.
func (c *Conn) Close() error {
	if err := unix.Close(c.fd); err != nil {
		return fmt.Errorf("close netlink socket: %w", err)
	}
	return nil
}

// room makes the send buffer large enough for a datagram: the kernel takes a transaction in one piece only.
func (c *Conn) room(size int) error {
	size += size/8 + 4096
	if size <= c.send {
		return nil
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size); err != nil {
		return fmt.Errorf("make send buffer of %d bytes (SO_SNDBUFFORCE): %w", size, err)
	}
	c.send = size
	return nil
}

func (c *Conn) write(datagram []byte) error {
	if err := c.room(len(datagram)); err != nil {
		return err
	}
	for {
		err := unix.Sendto(c.fd, datagram, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// message is one answer of the kernel.
type message struct {
	kind, flags uint16
	seq         uint32
	body        []byte // valid until the next receive
}

// receive reads the answers that are there; EAGAIN says that there are none. What was sent to others is left out.
func (c *Conn) receive(visit func(message) error) error {
	n, from, err := unix.Recvfrom(c.fd, c.buffer, unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return os.NewSyscallError("recvfrom", err)
	}
	if from, ok := from.(*unix.SockaddrNetlink); ok && from.Pid != 0 {
		return nil // not from the kernel
	}
	for data := c.buffer[:n]; len(data) >= messageHeader; {
		size := int(binary.NativeEndian.Uint32(data))
		if size < messageHeader || size > len(data) {
			return fmt.Errorf("netlink message of %d bytes in %d: %w", size, len(data), unix.EBADMSG)
		}
		m := message{
			kind: binary.NativeEndian.Uint16(data[4:]), flags: binary.NativeEndian.Uint16(data[6:]),
			seq: binary.NativeEndian.Uint32(data[8:]), body: data[messageHeader:size],
		}
		if err := visit(m); err != nil {
			return err
		}
		data = data[min(align(size), len(data)):]
	}
	return nil
}

// failure is the error that an NLMSG_ERROR or NLMSG_DONE carries.
func failure(m message) error {
	if len(m.body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.body)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}
