package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// SetInfo is a set as the kernel has it.
type SetInfo struct{ Name, Signature string }

// Rule is a rule as the kernel has it; the comment of a rule that AddRule made is its fingerprint.
type Rule struct{ Chain, Comment string }

// Sets lists the sets of the table.
func (c *Conn) Sets() ([]SetInfo, error) {
	var all []SetInfo
	err := c.dump(list{kind: unix.NFT_MSG_GETSET, table: unix.NFTA_SET_TABLE, begin: func() { all = nil }, visit: func(body []byte) {
		var name string
		var flags, keyType, keySize, dataType, dataSize, size uint32
		attributes(body, func(kind uint16, v []byte) {
			switch kind {
			case unix.NFTA_SET_NAME:
				name = text(v)
			case unix.NFTA_SET_FLAGS:
				flags = number(v)
			case unix.NFTA_SET_KEY_TYPE:
				keyType = number(v)
			case unix.NFTA_SET_KEY_LEN:
				keySize = number(v)
			case unix.NFTA_SET_DATA_TYPE:
				dataType = number(v)
			case unix.NFTA_SET_DATA_LEN:
				dataSize = number(v)
			case unix.NFTA_SET_DESC:
				attributes(v, func(kind uint16, v []byte) {
					if kind == unix.NFTA_SET_DESC_SIZE {
						size = number(v)
					}
				})
			}
		})
		all = append(all, SetInfo{name, signature(flags, keyType, keySize, dataType, dataSize, size)})
	}})
	if err != nil {
		return nil, fmt.Errorf("list sets of nftables table %s: %w", c.table, err)
	}
	return all, nil
}

// Chains lists the chains of the table.
func (c *Conn) Chains() ([]Chain, error) {
	var all []Chain
	err := c.dump(list{kind: unix.NFT_MSG_GETCHAIN, begin: func() { all = nil }, visit: func(body []byte) {
		var chain Chain
		var table string
		attributes(body, func(kind uint16, v []byte) {
			switch kind {
			case unix.NFTA_CHAIN_TABLE:
				table = text(v)
			case unix.NFTA_CHAIN_NAME:
				chain.Name = text(v)
			case unix.NFTA_CHAIN_TYPE:
				chain.Type = text(v)
			case unix.NFTA_CHAIN_HOOK:
				attributes(v, func(kind uint16, v []byte) {
					switch kind {
					case unix.NFTA_HOOK_HOOKNUM:
						chain.Hook = number(v)
					case unix.NFTA_HOOK_PRIORITY:
						chain.Priority = int32(number(v))
					}
				})
			}
		})
		if table == c.table {
			all = append(all, chain)
		}
	}})
	if err != nil {
		return nil, fmt.Errorf("list chains of nftables table %s: %w", c.table, err)
	}
	return all, nil
}

// Rules lists the rules of the table, those of one chain in their order.
func (c *Conn) Rules() ([]Rule, error) {
	var all []Rule
	err := c.dump(list{kind: unix.NFT_MSG_GETRULE, table: unix.NFTA_RULE_TABLE, begin: func() { all = nil }, visit: func(body []byte) {
		var r Rule
		attributes(body, func(kind uint16, v []byte) {
			switch kind {
			case unix.NFTA_RULE_CHAIN:
				r.Chain = text(v)
			case unix.NFTA_RULE_USERDATA:
				r.Comment = parseComment(v)
			}
		})
		all = append(all, r)
	}})
	if err != nil {
		return nil, fmt.Errorf("list rules of nftables table %s: %w", c.table, err)
	}
	return all, nil
}

// Elements calls visit with each element of a set. It calls restart before it begins anew because the set changed meanwhile.
//
// The kernel hands over so many elements at a time and then counts from the beginning of its hash table to go on (nft_rhash_walk). Soon
// after a large transaction it still moves them to a larger table, and does not say so: some are handed over twice and others never.
// So a list in which an element occurs twice is read anew.
func (c *Conn) Elements(set string, restart func(), visit func(Element)) error {
	var repeats *Repeats
	err := c.dump(list{
		kind: unix.NFT_MSG_GETSETELEM, table: unix.NFTA_SET_ELEM_LIST_TABLE, set: set,
		begin: func() {
			repeats = NewRepeats()
			restart()
		},
		visit: func(body []byte) {
			attributes(body, func(kind uint16, v []byte) {
				if kind == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
					attributes(v, func(_ uint16, v []byte) {
						e := decodeElement(v)
						repeats.Add(e.Key, e.End)
						visit(e)
					})
				}
			})
		},
		torn: func() bool { return repeats.Any() },
	})
	if err != nil {
		return fmt.Errorf("list elements of nftables set %s: %w", set, err)
	}
	return nil
}

func decodeElement(body []byte) (e Element) {
	const keyEnd = 10 // NFTA_SET_ELEM_KEY_END
	attributes(body, func(kind uint16, v []byte) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			e.Key = decodeValue(v)
		case keyEnd:
			e.End = decodeValue(v)
		case unix.NFTA_SET_ELEM_DATA:
			e.Val = decodeValue(v)
		}
	})
	return e
}

func decodeValue(body []byte) (value string) {
	attributes(body, func(kind uint16, v []byte) {
		switch kind {
		case unix.NFTA_DATA_VALUE:
			value = string(v)
		case unix.NFTA_DATA_VERDICT:
			attributes(v, func(kind uint16, v []byte) {
				if kind == unix.NFTA_VERDICT_CHAIN {
					value = text(v)
				}
			})
		}
	})
	return value
}

// list is a question for all objects of a kind.
type list struct {
	kind  uint16       // of the message
	table uint16       // attribute with the name of the table; 0 for those of all tables
	set   string       // whose elements
	begin func()       // called first, and before the kernel is asked anew
	visit func([]byte) // of each object, without the header of its family
	torn  func() bool  // tells in the end whether the answer contradicts itself; may be nil
}

// dump asks for a list. A table or set that does not exist is an empty one. The kernel says when anything of nf_tables changed
// meanwhile, in whatever table: then it is asked anew, and in the end believed, since the owner of a set does not read and write it at once.
func (c *Conn) dump(l list) error {
	var err error
	for attempt := range dumpAttempts {
		l.begin()
		if err = c.dumpOnce(l, attempt+1 < dumpAttempts); !errors.Is(err, errInterrupted) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) {
		l.begin()
		return nil
	}
	return err
}

func (c *Conn) dumpOnce(l list, strict bool) error {
	if err := c.request(l); err != nil {
		return err
	}
	done, interrupted := false, false
	var failed error
	for !done {
		err := c.receive(func(m message) error {
			if m.seq != c.seq {
				return nil
			}
			interrupted = interrupted || strict && m.flags&unix.NLM_F_DUMP_INTR != 0
			switch {
			case m.kind == unix.NLMSG_DONE || m.kind == unix.NLMSG_ERROR:
				done, failed = true, failure(m)
			case len(m.body) >= familyHeader && !interrupted:
				l.visit(m.body[familyHeader:])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if failed == nil && (interrupted || strict && l.torn != nil && l.torn()) {
		return errInterrupted
	}
	return failed
}

func (c *Conn) request(l list) error {
	c.seq++
	e := encoder{buf: make([]byte, messageHeader)}
	e.buf = append(e.buf, inet, unix.NFNETLINK_V0, 0, 0)
	if l.table != 0 {
		e.string(l.table, c.table)
	}
	if l.set != "" {
		e.string(unix.NFTA_SET_ELEM_LIST_SET, l.set)
	}
	binary.NativeEndian.PutUint32(e.buf, uint32(len(e.buf)))
	binary.NativeEndian.PutUint16(e.buf[4:], unix.NFNL_SUBSYS_NFTABLES<<8|l.kind)
	binary.NativeEndian.PutUint16(e.buf[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(e.buf[8:], c.seq)
	return c.write(e.buf)
}
