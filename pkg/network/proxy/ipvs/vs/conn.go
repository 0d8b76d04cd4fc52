package vs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	familyName    = "IPVS"
	answerTimeout = 10        // seconds that the kernel has for an answer; it answers while it is asked
	batchBytes    = 64 << 10  // of requests in one message; below what a socket may send at once
	bufferBytes   = 1 << 20   // for answers that wait to be read
	receiveBytes  = 128 << 10 // the largest part of a dump is 32 KiB
)

// Conn is a connection to IPVS.
type Conn struct {
	fd      int
	family  uint16
	seq     uint32
	buffer  []byte // of answers
	batched []byte // requests, the last ones that were sent
}

// Dial opens a connection in the network namespace of the calling thread.
func Dial() (*Conn, error) {
	family, err := netlink.GenlFamilyGet(familyName)
	if err != nil {
		return nil, fmt.Errorf("find netlink family %s (is the module ip_vs loaded?): %w", familyName, err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	c := &Conn{fd: fd, family: family.ID, buffer: make([]byte, receiveBytes)}
	if err := c.prepare(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Conn) prepare() error {
	if err := unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind generic netlink: %w", err)
	}
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerTimeout}); err != nil {
		return fmt.Errorf("bound the wait for netlink: %w", err)
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		return fmt.Errorf("shorten answers of netlink: %w", err)
	}
	_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferBytes) // else as many answers as the default holds
	return nil
}

// Close releases the socket.
func (c *Conn) Close() error {
	if err := unix.Close(c.fd); err != nil {
		return fmt.Errorf("close generic netlink: %w", err)
	}
	return nil
}

// message appends a netlink message with the attributes that fill appends.
func (c *Conn) message(b []byte, command uint8, flags uint16, fill func([]byte) []byte) []byte {
	start := len(b)
	c.seq++
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, c.family)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = binary.NativeEndian.AppendUint32(b, c.seq)
	b = append(b, 0, 0, 0, 0, command, genlVersion, 0, 0)
	b = fill(b)
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func (c *Conn) send(b []byte) error {
	if err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to IPVS: %w", err)
	}
	return nil
}

// receive hands every message that answers one of the last count requests to each, until it says that it was the last one.
func (c *Conn) receive(count uint32, each func(seq uint32, kind uint16, body []byte) (last bool, err error)) error {
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("wait for IPVS: no answer in %d s: %w", answerTimeout, err)
		}
		if err != nil {
			return fmt.Errorf("receive from IPVS: %w", err)
		}
		for b := c.buffer[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.SizeofNlMsghdr || size > len(b) {
				return fmt.Errorf("read answer of IPVS: message of %d bytes in %d", size, len(b))
			}
			kind, seq := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:])
			body := b[unix.SizeofNlMsghdr:size]
			b = b[min(len(b), (size+3)&^3):]
			if c.seq-seq >= count {
				continue // the late answer to a request that was given up
			}
			if last, err := each(seq, kind, body); last || err != nil {
				return err
			}
		}
	}
}

// status is the error of a message of type NLMSG_ERROR or NLMSG_DONE.
func status(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}
