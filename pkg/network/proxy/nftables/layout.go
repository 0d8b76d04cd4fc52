package nftables

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/nft/wire"
)

const (
	prefix = "svc-"
	others = prefix + "ipvs-" // names of package ipvs

	// maxSticky bounds how many pairs of client and service are remembered for session affinity, per IP family.
	maxSticky = 1 << 16

	chainPrerouting  = prefix + "prerouting"
	chainOutput      = prefix + "output"
	chainInput       = prefix + "input"
	chainPostrouting = prefix + "postrouting"
	chainMasquerade  = prefix + "masquerade"
	chainRefuse      = prefix + "refuse"
	chainReject      = prefix + "reject"
	chainDrop        = prefix + "drop"
)

// setID says which of the sets of a family is meant.
type setID uint8

const (
	services  setID = iota // address, protocol, port → class of the pool for those inside
	outside                // the same for those outside, where the answer differs
	endpoints              // address, protocol, port, index or token → address, port
	tokens                 // address, protocol, port, index → token; with session affinity
	sticky                 // client, address, protocol, port → token; filled by packets
	guarded                // address, protocol, port: with source ranges
	sources                // address, protocol, port, range of clients
	classes                // class → chain
	local                  // address twice: endpoints on this node
	nodeports              // addresses that answer node ports
	external               // addresses of services that are neither in the service network nor the node's own
	setCount
)

// table describes a set that exists once for each family.
type table struct {
	id    setID
	v6    bool
	set   wire.Set
	fixed bool // elements are the proxy's alone
}

// tables are all sets, in the order in which they are made.
func tables() []table {
	all := make([]table, 0, 2*setCount)
	for _, v6 := range []bool{false, true} {
		for id := range setCount {
			all = append(all, table{id: id, v6: v6, set: definition(id, v6), fixed: id != sticky})
		}
	}
	return all
}

// place is where the definition of a set stands in tables.
func place(id setID, v6 bool) int {
	if v6 {
		return int(setCount) + int(id)
	}
	return int(id)
}

func definition(id setID, v6 bool) wire.Set {
	addr := addressType(v6)
	front := []wire.Type{addr, wire.Proto(), wire.Service()}
	s := wire.Set{Name: setName(id, v6), Key: front}
	switch id {
	case services, outside:
		s.Data = []wire.Type{wire.Mark()}
	case endpoints:
		s.Key, s.Data = append(front, wire.Mark()), []wire.Type{addr, wire.Service()}
	case tokens:
		s.Key, s.Data = append(front, wire.Mark()), []wire.Type{wire.Mark()}
	case sticky:
		s.Key, s.Data = append([]wire.Type{addr}, front...), []wire.Type{wire.Mark()}
		s.Flags, s.Size = unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL, maxSticky
		s.Sweep = time.Minute
	case guarded:
	case sources:
		s.Key, s.Flags = append(front, addr), unix.NFT_SET_INTERVAL
	case classes:
		s.Key, s.Data = []wire.Type{wire.Mark()}, []wire.Type{wire.Verdict()}
	case local:
		s.Key = []wire.Type{addr, addr}
	case nodeports, external:
		s.Key = []wire.Type{addr}
	}
	return s
}

func setName(id setID, v6 bool) string {
	names := [setCount]string{
		"services", "outside", "endpoints", "tokens", "sticky", "guarded", "sources", "classes", "local", "nodeports",
		"external",
	}
	return prefix + names[id] + familyDigit(v6)
}

func familyDigit(v6 bool) string {
	if v6 {
		return "6"
	}
	return "4"
}

func addressType(v6 bool) wire.Type {
	if v6 {
		return wire.IPv6()
	}
	return wire.IPv4()
}

// front is an address and port that connections go to, and the protocol. The unspecified address stands for node ports.
type front struct {
	netip.AddrPort
	protocol uint8
}

func (f front) v6() bool { return f.Addr().Is6() }

// key is the front in a set: each field in words of four bytes.
func (f front) key() []byte {
	key := f.Addr().AsSlice()
	key = append(key, f.protocol, 0, 0, 0)
	return binary.BigEndian.AppendUint32(key, uint32(f.Port())<<16)
}

// indexed is the front and a number in a set.
func (f front) indexed(n uint32) string {
	return string(binary.NativeEndian.AppendUint32(f.key(), n))
}

func word(n uint32) string { return string(binary.NativeEndian.AppendUint32(nil, n)) }

// target is an endpoint as data of a map.
func target(to netip.AddrPort) string {
	return string(binary.BigEndian.AppendUint32(to.Addr().AsSlice(), uint32(to.Port())<<16))
}

// mine reports whether a name of the table is this package's.
func mine(name string) bool {
	return strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, others)
}

func tableName() string { return nft.Table().Name }
