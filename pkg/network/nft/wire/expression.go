package wire

import (
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// encodeExpression writes two kinds of expressions that the library writes otherwise than the kernel reads: the direction of a
// connection's tuple is one byte and belongs to the keys of both families, and a header may be written whose address only the
// checksum of the next header covers, as in IPv6.
func encodeExpression(x expr.Any) ([]byte, error) {
	switch x := x.(type) {
	case *expr.Ct:
		if ofTuple(x.Key) && !x.SourceRegister {
			return encodeTuple(x), nil
		}
	case *expr.Payload:
		if x.OperationType == expr.PayloadWrite {
			return encodeWrite(x), nil
		}
	}
	data, err := expr.Marshal(inet, x)
	if err != nil {
		return nil, fmt.Errorf("encode expression %T: %w", x, err)
	}
	return data, nil
}

func ofTuple(key expr.CtKey) bool {
	switch key {
	case expr.CtKeySRC, expr.CtKeyDST, expr.CtKeyPROTOSRC, expr.CtKeyPROTODST,
		unix.NFT_CT_SRC_IP, unix.NFT_CT_DST_IP, unix.NFT_CT_SRC_IP6, unix.NFT_CT_DST_IP6:
		return true
	}
	return false
}

func encodeTuple(x *expr.Ct) []byte {
	return named("ct", func(e *encoder) {
		e.uint32(unix.NFTA_CT_KEY, uint32(x.Key))
		e.uint32(unix.NFTA_CT_DREG, x.Register)
		e.bytes(unix.NFTA_CT_DIRECTION, []byte{byte(x.Direction)})
	})
}

func encodeWrite(x *expr.Payload) []byte {
	return named("payload", func(e *encoder) {
		e.uint32(unix.NFTA_PAYLOAD_SREG, x.SourceRegister)
		e.uint32(unix.NFTA_PAYLOAD_BASE, uint32(x.Base))
		e.uint32(unix.NFTA_PAYLOAD_OFFSET, x.Offset)
		e.uint32(unix.NFTA_PAYLOAD_LEN, x.Len)
		e.uint32(unix.NFTA_PAYLOAD_CSUM_TYPE, uint32(x.CsumType))
		e.uint32(unix.NFTA_PAYLOAD_CSUM_OFFSET, x.CsumOffset)
		e.uint32(unix.NFTA_PAYLOAD_CSUM_FLAGS, x.CsumFlags)
	})
}

// named is an expression as the kernel knows it: its name, and what it needs.
func named(name string, fill func(*encoder)) []byte {
	var e encoder
	e.string(unix.NFTA_EXPR_NAME, name)
	data := e.begin(unix.NFTA_EXPR_DATA)
	fill(&e)
	e.end(data)
	return e.buf
}
