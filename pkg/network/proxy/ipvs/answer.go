package ipvs

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// IPVS finds the connection that an answer belongs to by the client's address and port and the endpoint alone, and takes the newest. If a
// client uses one port for two services, or for two addresses of one, that lead to the same endpoint, the answers of the older connection
// would come from an address that it did not ask. Connection tracking tells the two apart, because it has given the second one another
// port towards the endpoint. So every answer gets, after IPVS and all other translation, the source that the connection's first packet
// was sent to. An answer that was translated rightly has it already.
//
// What is left: IPVS ages the newer connection by what the server says on the older one. If that ends, the newer one is forgotten after
// ten seconds (a reset) or two minutes in which its client sends nothing.

// priorityAnswers is after IPVS (99), and after translation of sources (100).
const priorityAnswers = 101

// directionOriginal and directionReply are those of a connection (enum ip_conntrack_dir).
const (
	directionOriginal = 0
	directionReply    = 1
)

// Offsets in headers, in bytes (RFC 791 section 3.1, RFC 9293 section 3.1, RFC 768, RFC 9260 section 3.1).
const (
	checksumIPv4 = 10
	checksumTCP  = 16
	checksumUDP  = 6
	checksumSCTP = 8
)

// answersOnly leads answers on; connections that are not tracked have none.
func answersOnly() []nft.Rule {
	reply := nft.Rule{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: valueRegister}, equal([]byte{directionReply})}
	return []nft.Rule{nft.Join(reply, nft.Jump(chainAnswer))}
}

// answerRules are one rule for each kind of packet, the most frequent first.
func answerRules() []nft.Rule {
	var rules []nft.Rule
	inet := sourcePort(unix.NFT_PAYLOAD_CSUM_INET, checksumTCP)
	for _, v6 := range families() {
		rules = append(rules, nft.Join(nft.Family(v6), isProtocol(unix.IPPROTO_TCP), sourceAddress(v6), inet, accept()))
	}
	datagram, bare := sourcePort(unix.NFT_PAYLOAD_CSUM_INET, checksumUDP), sourcePort(unix.NFT_PAYLOAD_CSUM_NONE, 0)
	packet := sourcePort(unix.NFT_PAYLOAD_CSUM_SCTP, checksumSCTP)
	for _, v6 := range families() {
		rules = append(rules,
			nft.Join(nft.Family(v6), isProtocol(unix.IPPROTO_UDP), hasChecksum(expr.CmpOpNeq), sourceAddress(v6), datagram, accept()),
			nft.Join(nft.Family(v6), isProtocol(unix.IPPROTO_UDP), hasChecksum(expr.CmpOpEq), sourceAddress(v6), bare, accept()),
			nft.Join(nft.Family(v6), isProtocol(unix.IPPROTO_SCTP), sourceAddress(v6), packet, accept()),
		)
	}
	return rules
}

// hasChecksum compares the checksum of a datagram with zero, which says that there is none. What is zero must stay so.
func hasChecksum(op expr.CmpOp) nft.Rule {
	return nft.Rule{
		&expr.Payload{DestRegister: valueRegister, Base: expr.PayloadBaseTransportHeader, Offset: checksumUDP, Len: 2},
		&expr.Cmp{Op: op, Register: valueRegister, Data: []byte{0, 0}},
	}
}

// sourceAddress makes the packet come from where the connection's first packet went.
func sourceAddress(v6 bool) nft.Rule {
	key, write := expr.CtKey(unix.NFT_CT_DST_IP), &expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4,
		CsumType: expr.CsumTypeInet, CsumOffset: checksumIPv4, CsumFlags: unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR,
	}
	if v6 {
		key, write.Offset, write.Len = unix.NFT_CT_DST_IP6, 8, 16
		write.CsumType, write.CsumOffset = expr.CsumTypeNone, 0
	}
	return nft.Rule{&expr.Ct{Key: key, Direction: directionOriginal, Register: unix.NFT_REG_1}, write}
}

// sourcePort is the same for the port.
func sourcePort(kind expr.PayloadCsumType, checksum uint32) nft.Rule {
	return nft.Rule{
		&expr.Ct{Key: expr.CtKeyPROTODST, Direction: directionOriginal, Register: valueRegister},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: valueRegister, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2,
			CsumType: kind, CsumOffset: checksum,
		},
	}
}
