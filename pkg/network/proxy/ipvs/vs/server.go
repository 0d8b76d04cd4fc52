package vs

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Flags of a virtual server (IP_VS_SVC_F_…). The kernel keeps the bits that it does not know and gives them back.
const (
	Persistent    uint32 = 1 << 0 // a client stays with its destination
	hashed        uint32 = 1 << 1 // the kernel's own
	HashFallback  uint32 = 1 << 3 // sh and mh: go on to another destination when the client's takes no new connections
	knownFlagBits        = 16     // bits from this one on mean nothing to the kernel
)

// Label is what marks a virtual server as kedge's: upper bits of its flags, which mean nothing to the kernel. It survives
// whatever happens to the process.
const Label uint32 = 0x6b64 << knownFlagBits

// ID names a virtual server: an address and port, or a firewall mark.
type ID struct {
	V6       bool
	Protocol uint8  // IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP; 0 with a mark
	Mark     uint32 // packets with exactly this mark; 0: those to the address and port
	netip.AddrPort
}

func (id ID) String() string {
	if id.Mark != 0 {
		family := "ipv4"
		if id.V6 {
			family = "ipv6"
		}
		return fmt.Sprintf("%s mark %#x", family, id.Mark)
	}
	return ProtocolName(id.Protocol) + " " + id.AddrPort.String()
}

// Server is a virtual server without its destinations.
type Server struct {
	ID
	Scheduler string
	Flags     uint32 // see Persistent, HashFallback, Label
	Timeout   uint32 // of persistence, seconds
}

// Ours tells whether the virtual server carries kedge's label.
func (s Server) Ours() bool { return s.Flags>>knownFlagBits == Label>>knownFlagBits }

// Dest is a destination (real server) of a virtual server.
type Dest struct {
	netip.AddrPort
	Weight   uint32
	Active   uint32 // connections that are established
	Inactive uint32 // connections that begin or end
}

// Idle tells whether no connection goes to the destination.
func (d Dest) Idle() bool { return d.Active == 0 && d.Inactive == 0 }

// ProtocolName is the protocol's name in lower case.
func ProtocolName(protocol uint8) string {
	switch protocol {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol %d", protocol)
}
