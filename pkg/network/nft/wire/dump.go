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
	err := c.dump(unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, "", func() { all = nil }, func(body []byte) {
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
	})
	if err != nil {
		return nil, fmt.Errorf("list sets of nftables table %s: %w", c.table, err)
	}
	return all, nil
}

// Chains lists the chains of the table.
func (c *Conn) Chains() ([]Chain, error) {
	var all []Chain
	err := c.dump(unix.NFT_MSG_GETCHAIN, 0, "", func() { all = nil }, func(body []byte) {
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
	})
	if err != nil {
		return nil, fmt.Errorf("list chains of nftables table %s: %w", c.table, err)
	}
	return all, nil
}

// Rules lists the rules of the table, those of one chain in their order.
func (c *Conn) Rules() ([]Rule, error) {
	var all []Rule
	err := c.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, "", func() { all = nil }, func(body []byte) {
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
	})
	if err != nil {
		return nil, fmt.Errorf("list rules of nftables table %s: %w", c.table, err)
	}
	return all, nil
}

// Elements calls visit with each element of a set. It calls restart before it begins anew because the set changed meanwhile.
func (c *Conn) Elements(set string, restart func(), visit func(Element)) error {
	err := c.dump(unix.NFT_MSG_GETSETELEM, unix.NFTA_SET_ELEM_LIST_TABLE, set, restart, func(body []byte) {
		attributes(body, func(kind uint16, v []byte) {
			if kind == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				attributes(v, func(_ uint16, v []byte) { visit(decodeElement(v)) })
			}
		})
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

// dump asks for a list. A table or set that does not exist is an empty one. The kernel says when anything of nf_tables changed
// meanwhile, in whatever table: then it is asked anew, and in the end believed, since the owner of a set does not read and write it at once.
func (c *Conn) dump(kind, tableAttr uint16, set string, restart func(), visit func([]byte)) error {
	var err error
	for attempt := range dumpAttempts {
		restart()
		if err = c.dumpOnce(kind, tableAttr, set, attempt+1 < dumpAttempts, visit); !errors.Is(err, errInterrupted) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) {
		restart()
		return nil
	}
	return err
}

func (c *Conn) dumpOnce(kind, tableAttr uint16, set string, strict bool, visit func([]byte)) error {
	c.seq++
	e := encoder{buf: make([]byte, messageHeader)}
	e.buf = append(e.buf, inet, unix.NFNETLINK_V0, 0, 0)
	if tableAttr != 0 {
		e.string(tableAttr, c.table)
	}
	if set != "" {
		e.string(unix.NFTA_SET_ELEM_LIST_SET, set)
	}
	binary.NativeEndian.PutUint32(e.buf, uint32(len(e.buf)))
	binary.NativeEndian.PutUint16(e.buf[4:], unix.NFNL_SUBSYS_NFTABLES<<8|kind)
	binary.NativeEndian.PutUint16(e.buf[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(e.buf[8:], c.seq)
	if err := c.write(e.buf); err != nil {
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
				visit(m.body[familyHeader:])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if interrupted && failed == nil {
		return errInterrupted
	}
	return failed
}
