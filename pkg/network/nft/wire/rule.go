package wire

import (
	"encoding/hex"
	"hash/fnv"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Chain is the definition of a chain; without Type it is one that others jump to.
type Chain struct {
	Name     string // required
	Type     string // nat or filter
	Hook     uint32 // NF_INET_…
	Priority int32
}

func encodeRule(rule []expr.Any) ([]byte, error) {
	var e encoder
	for _, x := range rule {
		data, err := encodeExpression(x)
		if err != nil {
			return nil, err
		}
		e.bytes(unix.NFTA_LIST_ELEM|attrNested, data)
	}
	return e.buf, nil
}

// Fingerprint names a rule by its expressions.
func Fingerprint(rule []expr.Any) (string, error) {
	data, err := encodeRule(rule)
	if err != nil {
		return "", err
	}
	return fingerprint(data), nil
}

func fingerprint(expressions []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(expressions)
	return hex.EncodeToString(h.Sum(nil))
}

// comment is user data of a rule that nft shows as its comment (libnftnl's include/udata.h): type, length, string.
func comment(s string) []byte {
	return append([]byte{0, byte(len(s) + 1)}, append([]byte(s), 0)...)
}

func parseComment(data []byte) string {
	if len(data) < 2 || data[0] != 0 || len(data) < 2+int(data[1]) {
		return ""
	}
	return text(data[2 : 2+int(data[1])])
}
