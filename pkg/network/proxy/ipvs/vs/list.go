package vs

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Servers lists all virtual servers of the network namespace, whoever made them.
func (c *Conn) Servers() ([]Server, error) {
	var all []Server
	err := c.dump(cmdGetService, func(b []byte) []byte { return b }, func(body []byte) {
		all = append(all, decodeServer(body))
	})
	if err != nil {
		return nil, fmt.Errorf("list virtual servers: %w", err)
	}
	return all, nil
}

// Dests lists the destinations of one virtual server.
func (c *Conn) Dests(id ID) ([]Dest, error) {
	var all []Dest
	err := c.dump(cmdGetDest, func(b []byte) []byte { return nest(b, attrService, id.encode) }, func(body []byte) {
		all = append(all, decodeDest(body, id.V6))
	})
	if err != nil {
		return nil, fmt.Errorf("list destinations of virtual server %s: %w", id, err)
	}
	return all, nil
}

// Timeout returns how long an idle TCP connection is remembered.
func (c *Conn) Timeout() (time.Duration, error) {
	var seconds uint32
	err := c.send(c.message(nil, cmdGetConfig, 0, func(b []byte) []byte { return b }))
	if err == nil {
		err = c.receive(1, func(_ uint32, kind uint16, body []byte) (bool, error) {
			if kind == unix.NLMSG_ERROR {
				return true, status(body)
			}
			eachAttr(body[min(genlHeader, len(body)):], func(kind uint16, value []byte) {
				if kind == attrTimeoutTCP && len(value) >= 4 {
					seconds = binary.NativeEndian.Uint32(value)
				}
			})
			return true, nil
		})
	}
	if err != nil {
		return 0, fmt.Errorf("get IPVS timeouts: %w", err)
	}
	return time.Duration(seconds) * time.Second, nil
}

// dump asks for a list and hands the attributes of each entry on.
func (c *Conn) dump(command uint8, fill func([]byte) []byte, entry func(attrs []byte)) error {
	if err := c.send(c.message(nil, command, unix.NLM_F_DUMP, fill)); err != nil {
		return err
	}
	return c.receive(1, func(_ uint32, kind uint16, body []byte) (bool, error) {
		switch {
		case kind == unix.NLMSG_ERROR || kind == unix.NLMSG_DONE:
			return true, status(body)
		case len(body) > genlHeader:
			eachAttr(body[genlHeader:], func(_ uint16, value []byte) { entry(value) })
		}
		return false, nil
	})
}

// eachAttr walks over attributes; a damaged rest is left out.
func eachAttr(b []byte, visit func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return
		}
		visit(binary.NativeEndian.Uint16(b[2:])&nestedType, b[unix.SizeofNlAttr:size])
		b = b[min(len(b), (size+3)&^3):]
	}
}

func decodeServer(attrs []byte) Server {
	var s Server
	var address []byte
	var port uint16
	eachAttr(attrs, func(kind uint16, v []byte) {
		switch {
		case kind == svcAddress:
			address = v
		case kind == svcScheduler:
			s.Scheduler = strings.TrimRight(string(v), "\x00")
		case kind == svcPort && len(v) >= 2:
			port = binary.BigEndian.Uint16(v)
		case kind == svcFamily && len(v) >= 2:
			s.V6 = binary.NativeEndian.Uint16(v) == unix.AF_INET6
		case kind == svcProtocol && len(v) >= 2:
			s.Protocol = uint8(binary.NativeEndian.Uint16(v))
		case kind == svcMark && len(v) >= 4:
			s.Mark = binary.NativeEndian.Uint32(v)
		case kind == svcFlags && len(v) >= 4:
			s.Flags = binary.NativeEndian.Uint32(v) &^ hashed
		case kind == svcTimeout && len(v) >= 4:
			s.Timeout = binary.NativeEndian.Uint32(v)
		}
	})
	if s.Mark == 0 {
		s.AddrPort = netip.AddrPortFrom(decodeAddr(address, s.V6), port)
	}
	return s
}

func decodeDest(attrs []byte, v6 bool) Dest {
	var d Dest
	var address []byte
	var port uint16
	eachAttr(attrs, func(kind uint16, v []byte) {
		switch {
		case kind == destAddress:
			address = v
		case kind == destPort && len(v) >= 2:
			port = binary.BigEndian.Uint16(v)
		case kind == destWeight && len(v) >= 4:
			d.Weight = binary.NativeEndian.Uint32(v)
		case kind == destActive && len(v) >= 4:
			d.Active = binary.NativeEndian.Uint32(v)
		case kind == destInactive && len(v) >= 4:
			d.Inactive = binary.NativeEndian.Uint32(v)
		}
	})
	d.AddrPort = netip.AddrPortFrom(decodeAddr(address, v6), port)
	return d
}

// decodeAddr reads an address, for which the kernel has 16 bytes in both families.
func decodeAddr(b []byte, v6 bool) netip.Addr {
	if !v6 && len(b) > 4 {
		b = b[:4]
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
