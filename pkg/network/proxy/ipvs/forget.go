package ipvs

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// Connection tracking remembers a connection that was reset for ten seconds. If its client's own reset was not the last packet,
// because the server had reset it or packets overtook each other, a new connection from the same port is taken for the old one.
// IPVS cannot choose an endpoint for that, drops the first packet to get rid of the entry, and the client waits a second. So
// connections to services have timeouts of their own: those of the node, but a reset one is forgotten at once. With
// conn_reuse_mode 0 nothing would be dropped, but clients that use their ports again would never come to new endpoints.

// timeouts are those of connection tracking for connections to services, in seconds by state; nil: the node's, because the kernel has no others.
type timeouts expr.CtStatePolicyTimeout

// synSent2 is the one that no parameter sets (nf_conntrack_proto_tcp.c).
const synSent2 = 120

// serviceTimeouts reads the parameters of the network namespace of the calling thread.
func serviceTimeouts() timeouts {
	all := timeouts{expr.CtStateTCPSYNSENT2: synSent2, expr.CtStateTCPCLOSE: 0}
	for state, name := range map[uint16]string{
		expr.CtStateTCPSYNSENT: "syn_sent", expr.CtStateTCPSYNRECV: "syn_recv", expr.CtStateTCPESTABLISHED: "established",
		expr.CtStateTCPFINWAIT: "fin_wait", expr.CtStateTCPCLOSEWAIT: "close_wait", expr.CtStateTCPLASTACK: "last_ack",
		expr.CtStateTCPTIMEWAIT: "time_wait", expr.CtStateTCPRETRANS: "max_retrans", expr.CtStateTCPUNACK: "unacknowledged",
	} {
		seconds, ok := tracked(name)
		if !ok {
			return nil
		}
		all[state] = uint32(seconds)
	}
	return all
}

// tracked is a timeout of connection tracking for TCP.
func tracked(name string) (seconds int, ok bool) {
	raw, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_" + name)
	if err != nil {
		return 0, false
	}
	seconds, err = strconv.Atoi(strings.TrimSpace(string(raw)))
	return seconds, err == nil
}

// name tells other values apart: an object cannot be changed while rules refer to it.
func (t timeouts) name() string {
	h := fnv.New32a()
	for _, state := range slices.Sorted(maps.Keys(t)) {
		_, _ = fmt.Fprintf(h, "%d=%d ", state, t[state]) // never fails
	}
	return fmt.Sprintf("%stcp-%08x", prefix, h.Sum32())
}

func (t timeouts) object() *nftables.NamedObj {
	policy := expr.CtTimeout{L3Proto: unix.NFPROTO_INET, L4Proto: unix.IPPROTO_TCP, Policy: expr.CtStatePolicyTimeout(t)}
	return &nftables.NamedObj{Table: nft.Table(), Name: t.name(), Type: nftables.ObjTypeCtTimeout, Obj: &policy}
}

// apply gives the timeouts to a new connection. An acknowledgement alone begins none: it is late, and would be remembered as a
// connection that is open. A connection that lives and was forgotten is known again by its data.
func (t timeouts) apply() []nft.Rule {
	if t == nil {
		return nil
	}
	object := nft.Rule{&expr.Objref{Type: int(nftables.ObjTypeCtTimeout), Name: t.name()}}
	return []nft.Rule{nft.Join(isProtocol(unix.IPPROTO_TCP), acknowledges(), nft.Drop()), nft.Join(isProtocol(unix.IPPROTO_TCP), object)}
}

const (
	// tcpFlags is where they are in the header; of these five an acknowledgement without data has one (RFC 9293 section 3.1).
	tcpFlags        = 13
	flagsFSRPA byte = 0x1f
	flagAck    byte = 0x10
	// longestAck is an IPv6 and a TCP header with all options: data without the flag PSH is longer, but for oddities.
	longestAck = 100
)

func acknowledges() nft.Rule {
	return nft.Rule{
		&expr.Payload{DestRegister: valueRegister, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1},
		&expr.Bitwise{SourceRegister: valueRegister, DestRegister: valueRegister, Len: 1, Mask: []byte{flagsFSRPA}, Xor: []byte{0}},
		equal([]byte{flagAck}),
		&expr.Meta{Key: expr.MetaKeyLEN, Register: valueRegister},
		&expr.Byteorder{SourceRegister: valueRegister, DestRegister: valueRegister, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLte, Register: valueRegister, Data: binary.BigEndian.AppendUint32(nil, longestAck)},
	}
}

// addTimeouts makes the object that rules refer to; it stays if it is there.
func (r *ruleset) addTimeouts(t timeouts) error {
	if t == nil {
		return nil
	}
	r.conn.AddTable(nft.Table())
	r.conn.AddObj(t.object())
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("add nftables ct timeout %s: %w", t.name(), err)
	}
	return nil
}

// removeTimeouts removes all such objects but one, which rules may refer to.
func (r *ruleset) removeTimeouts(keep string) error {
	found, err := r.conn.GetNamedObjects(nft.Table())
	if err != nil {
		return fmt.Errorf("list nftables objects: %w", err)
	}
	for _, f := range found {
		o, ok := f.(*nftables.NamedObj)
		if ok && o.Type == nftables.ObjTypeCtTimeout && strings.HasPrefix(o.Name, prefix) && o.Name != keep {
			r.conn.DeleteObject(o)
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("remove nftables ct timeouts %s*: %w", prefix, err)
	}
	return nil
}
