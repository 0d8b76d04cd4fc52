package vs

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Commands (IPVS_CMD_…).
const (
	cmdNewService = iota + 1
	cmdSetService
	cmdDelService
	cmdGetService
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	_ // of the synchronization daemon
	_
	_
	cmdSetConfig
	cmdGetConfig
)

// Attributes of a command (IPVS_CMD_ATTR_…).
const (
	attrService    = 1
	attrDest       = 2
	attrTimeoutTCP = 4
)

// Attributes of a virtual server (IPVS_SVC_ATTR_…).
const (
	svcFamily = iota + 1
	svcProtocol
	svcAddress
	svcPort
	svcMark
	svcScheduler
	svcFlags
	svcTimeout
	svcNetmask
)

// Attributes of a destination (IPVS_DEST_ATTR_…).
const (
	destAddress = iota + 1
	destPort
	destForward
	destWeight
	destUpper
	destLower
	destActive
	destInactive
)

const (
	forwardMasquerade = 0 // IP_VS_CONN_F_MASQ: translate the destination address
	genlVersion       = 1
	genlHeader        = 4
	nestedType        = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

// put appends an attribute, padded to four bytes (netlink(7)).
func put(b []byte, kind uint16, data ...byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func put16(b []byte, kind, value uint16) []byte {
	return put(b, kind, binary.NativeEndian.AppendUint16(nil, value)...)
}

func put32(b []byte, kind uint16, value uint32) []byte {
	return put(b, kind, binary.NativeEndian.AppendUint32(nil, value)...)
}

// nest appends an attribute that holds what fill appends.
func nest(b []byte, kind uint16, fill func([]byte) []byte) []byte {
	start := len(b)
	b = fill(put(b, kind|unix.NLA_F_NESTED))
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

func (id ID) encode(b []byte) []byte {
	family := uint16(unix.AF_INET)
	if id.V6 {
		family = unix.AF_INET6
	}
	b = put16(b, svcFamily, family)
	if id.Mark != 0 {
		return put32(b, svcMark, id.Mark)
	}
	b = put16(b, svcProtocol, uint16(id.Protocol))
	b = put(b, svcAddress, id.Addr().AsSlice()...)
	return put(b, svcPort, binary.BigEndian.AppendUint16(nil, id.Port())...)
}

// encode appends the whole virtual server. The netmask of persistence is a single client.
func (s Server) encode(b []byte) []byte {
	b = put(s.ID.encode(b), svcScheduler, append([]byte(s.Scheduler), 0)...)
	const all = ^uint32(0)
	b = put(b, svcFlags, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, s.Flags), all)...)
	b = put32(b, svcTimeout, s.Timeout)
	netmask := all
	if s.V6 {
		netmask = 128
	}
	return put32(b, svcNetmask, netmask)
}

func (d Dest) encode(b []byte) []byte {
	b = put(b, destAddress, d.Addr().AsSlice()...)
	b = put(b, destPort, binary.BigEndian.AppendUint16(nil, d.Port())...)
	b = put32(b, destForward, forwardMasquerade)
	b = put32(b, destWeight, d.Weight)
	return put32(put32(b, destUpper, 0), destLower, 0)
}
