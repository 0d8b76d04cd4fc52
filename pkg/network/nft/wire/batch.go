package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// attributeLimit keeps a list of elements below the 64 KiB that a netlink attribute can have.
const attributeLimit = 60000

// accept is the policy of base chains, NF_ACCEPT.
const accept = 1

// Batch is a transaction. Its methods queue; the order matters as in a script: what is referred to comes first.
type Batch struct {
	encoder
	table string
	what  []string // of each message, for errors
	start int      // of the message that is being written
	err   error
}

// NewBatch begins a transaction on a table of the inet family.
func NewBatch(table string) *Batch {
	b := &Batch{table: table}
	b.limit(unix.NFNL_MSG_BATCH_BEGIN)
	return b
}

// Empty reports whether nothing has been queued.
func (b *Batch) Empty() bool { return len(b.what) == 0 }

func (b *Batch) limit(kind uint16) {
	b.buf = append(b.buf, make([]byte, messageHeader)...)
	head := b.buf[len(b.buf)-messageHeader:]
	binary.NativeEndian.PutUint32(head, messageHeader+familyHeader)
	binary.NativeEndian.PutUint16(head[4:], kind)
	binary.NativeEndian.PutUint16(head[6:], unix.NLM_F_REQUEST)
	b.buf = append(b.buf, unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES)
}

// open begins a message; the sequence number is its place in the batch.
func (b *Batch) open(kind, flags uint16, what string) {
	b.what = append(b.what, what)
	b.start = len(b.buf)
	b.buf = append(b.buf, make([]byte, messageHeader)...)
	head := b.buf[b.start:]
	binary.NativeEndian.PutUint16(head[4:], unix.NFNL_SUBSYS_NFTABLES<<8|kind)
	binary.NativeEndian.PutUint16(head[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(head[8:], uint32(len(b.what)))
	b.buf = append(b.buf, inet, unix.NFNETLINK_V0, 0, 0)
}

func (b *Batch) close() { binary.NativeEndian.PutUint32(b.buf[b.start:], uint32(len(b.buf)-b.start)) }

// AddTable makes the table unless it is there.
func (b *Batch) AddTable() {
	b.open(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "add table "+b.table)
	b.string(unix.NFTA_TABLE_NAME, b.table)
	b.close()
}

// AddChain makes a chain.
func (b *Batch) AddChain(c Chain) {
	b.open(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "add chain "+c.Name)
	b.string(unix.NFTA_CHAIN_TABLE, b.table)
	b.string(unix.NFTA_CHAIN_NAME, c.Name)
	if c.Type != "" {
		hook := b.begin(unix.NFTA_CHAIN_HOOK)
		b.uint32(unix.NFTA_HOOK_HOOKNUM, c.Hook)
		b.uint32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
		b.end(hook)
		b.uint32(unix.NFTA_CHAIN_POLICY, accept)
		b.string(unix.NFTA_CHAIN_TYPE, c.Type)
	}
	b.close()
}

// DeleteChain removes a chain to which nothing refers, with its rules.
func (b *Batch) DeleteChain(name string) {
	b.open(unix.NFT_MSG_DELCHAIN, 0, "delete chain "+name)
	b.string(unix.NFTA_CHAIN_TABLE, b.table)
	b.string(unix.NFTA_CHAIN_NAME, name)
	b.close()
}

// FlushChain removes the rules of a chain.
func (b *Batch) FlushChain(name string) {
	b.open(unix.NFT_MSG_DELRULE, 0, "flush chain "+name)
	b.string(unix.NFTA_RULE_TABLE, b.table)
	b.string(unix.NFTA_RULE_CHAIN, name)
	b.close()
}

// AddRule appends a rule to a chain. Its comment is the fingerprint of its expressions, by which Rules shows it.
func (b *Batch) AddRule(chain string, rule []expr.Any) {
	expressions, err := encodeRule(rule)
	if err != nil {
		b.err = errors.Join(b.err, fmt.Errorf("encode rule %d of chain %s: %w", len(b.what), chain, err))
		return
	}
	b.open(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, "add rule to chain "+chain)
	b.string(unix.NFTA_RULE_TABLE, b.table)
	b.string(unix.NFTA_RULE_CHAIN, chain)
	b.bytes(unix.NFTA_RULE_EXPRESSIONS|attrNested, expressions)
	b.bytes(unix.NFTA_RULE_USERDATA, comment(fingerprint(expressions)))
	b.close()
}

// finish closes the transaction and asks for an acknowledgement of its last message only, so that there is one on success.
func (b *Batch) finish() []byte {
	flags := b.buf[b.start+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
	b.limit(unix.NFNL_MSG_BATCH_END)
	return b.buf
}

// Commit sends the transaction and returns what the kernel says to it: nil when all of it is in force, and an error that wraps
// the first refusal (ENOENT, EEXIST, EBUSY …) when nothing of it is. The batch cannot be used again.
func (c *Conn) Commit(b *Batch) error {
	if b.err != nil {
		return b.err
	}
	if b.Empty() {
		return nil
	}
	if err := c.write(b.finish()); err != nil {
		return fmt.Errorf("send nftables transaction of %d messages, %d bytes: %w", len(b.what), len(b.buf), err)
	}
	var first error
	acknowledged := false
	for {
		err := c.receive(func(m message) error {
			acknowledged = acknowledged || int(m.seq) == len(b.what)
			if first == nil && m.kind == unix.NLMSG_ERROR {
				first = b.explain(m)
			}
			return nil
		})
		switch {
		case errors.Is(err, unix.EAGAIN) && first == nil && !acknowledged:
			return fmt.Errorf("nftables transaction of %d messages was not acknowledged: %w", len(b.what), unix.EPROTO)
		case errors.Is(err, unix.EAGAIN):
			return first
		case err != nil && !errors.Is(err, unix.ENOBUFS):
			return errors.Join(first, fmt.Errorf("receive answer to nftables transaction: %w", err))
		case err != nil:
			first = errors.Join(first, fmt.Errorf("answers to nftables transaction were lost: %w", err))
		}
	}
}

func (b *Batch) explain(m message) error {
	err := failure(m)
	switch {
	case err == nil:
		return nil
	case m.seq == 0 || int(m.seq) > len(b.what):
		return fmt.Errorf("commit nftables transaction: %w", err)
	}
	return fmt.Errorf("nftables transaction, message %d of %d, %s: %w", m.seq, len(b.what), b.what[m.seq-1], err)
}
