package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Type is a type of set keys and data as nft numbers them (nftables' include/datatype.h). The kernel goes by the length alone.
type Type struct {
	Number uint32
	Size   uint32 // bytes
}

// IPv4 is the type of an address of IPv4.
func IPv4() Type { return Type{7, 4} }

// IPv6 is the type of an address of IPv6.
func IPv6() Type { return Type{8, 16} }

// Proto is the type of a transport protocol's number.
func Proto() Type { return Type{12, 1} }

// Service is the type of a port of TCP, UDP or SCTP.
func Service() Type { return Type{13, 2} }

// Mark is the type of a packet's mark.
func Mark() Type { return Type{19, 4} }

// Verdict is the type of what becomes of a packet; for data only.
func Verdict() Type { return Type{verdictType, 16} }

const (
	verdictType = 0xffffff00
	typeBits    = 6
)

// Set is the definition of a set, or of a map when it has Data. Fields of several types stand in words of four bytes each.
type Set struct {
	Name  string // required
	Key   []Type // required
	Data  []Type
	Flags uint32        // NFT_SET_INTERVAL (ranges in any field of the key), NFT_SET_TIMEOUT, NFT_SET_EVAL
	Size  uint32        // most elements; 0: no limit. Required with NFT_SET_EVAL
	Sweep time.Duration // how often what has timed out is removed; 0: every second
}

// Signature is what of a definition decides whether elements and rules fit, as text.
func (s Set) Signature() string {
	keyType, keySize := concat(s.Key)
	dataType, dataSize := concat(s.Data)
	return signature(s.flags(), keyType, keySize, dataType, dataSize, s.Size)
}

func signature(flags, keyType, keySize, dataType, dataSize, size uint32) string {
	return fmt.Sprintf("flags %#x key %#x %d data %#x %d size %d", flags, keyType, keySize, dataType, dataSize, size)
}

func (s Set) flags() uint32 {
	flags := s.Flags
	if len(s.Data) > 0 {
		flags |= unix.NFT_SET_MAP
	}
	if len(s.Key) > 1 && flags&unix.NFT_SET_INTERVAL != 0 {
		flags |= setConcat
	}
	return flags
}

const setConcat = 0x80 // NFT_SET_CONCAT

// concat is the number and the size of several types one after the other.
func concat(types []Type) (kind, size uint32) {
	if len(types) == 1 {
		return types[0].Number, types[0].Size
	}
	for _, t := range types {
		kind = kind<<typeBits | t.Number
		size += uint32(align(int(t.Size)))
	}
	return kind, size
}

// AddSet makes a set.
func (b *Batch) AddSet(s Set) {
	b.open(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "add set "+s.Name)
	b.string(unix.NFTA_SET_TABLE, b.table)
	b.string(unix.NFTA_SET_NAME, s.Name)
	b.uint32(unix.NFTA_SET_FLAGS, s.flags())
	kind, size := concat(s.Key)
	b.uint32(unix.NFTA_SET_KEY_TYPE, kind)
	b.uint32(unix.NFTA_SET_KEY_LEN, size)
	if len(s.Data) > 0 {
		kind, size = concat(s.Data)
		b.uint32(unix.NFTA_SET_DATA_TYPE, kind)
		b.uint32(unix.NFTA_SET_DATA_LEN, size)
	}
	if s.Sweep > 0 {
		b.uint32(unix.NFTA_SET_GC_INTERVAL, uint32(s.Sweep.Milliseconds()))
	}
	b.bytes(unix.NFTA_SET_USERDATA, byteOrders(s))
	b.uint32(unix.NFTA_SET_ID, uint32(len(b.what)))
	if s.Size > 0 || s.flags()&setConcat != 0 {
		desc := b.begin(unix.NFTA_SET_DESC)
		if s.Size > 0 {
			b.uint32(unix.NFTA_SET_DESC_SIZE, s.Size)
		}
		if s.flags()&setConcat != 0 {
			b.fields(s.Key)
		}
		b.end(desc)
	}
	b.close()
}

// byteOrders tells nft how to show numbers (libnftnl's include/udata.h: type, length, value). Those of marks are the machine's.
func byteOrders(s Set) []byte {
	const key, data, host, network = 0, 1, 1, 2
	order := func(types []Type) uint32 {
		if len(types) > 0 && types[0] == Mark() {
			return host
		}
		return network
	}
	user := binary.NativeEndian.AppendUint32([]byte{key, 4}, order(s.Key))
	return binary.NativeEndian.AppendUint32(append(user, data, 4), order(s.Data))
}

// fields says where the ranges of a concatenation begin.
func (b *Batch) fields(key []Type) {
	const descConcat, fieldLen = 2, 1 // NFTA_SET_DESC_CONCAT, NFTA_SET_FIELD_LEN
	list := b.begin(descConcat)
	for _, t := range key {
		field := b.begin(unix.NFTA_LIST_ELEM)
		b.uint32(fieldLen, t.Size)
		b.end(field)
	}
	b.end(list)
}

// DeleteSet removes a set to which nothing refers, with its elements.
func (b *Batch) DeleteSet(name string) {
	b.open(unix.NFT_MSG_DELSET, 0, "delete set "+name)
	b.string(unix.NFTA_SET_TABLE, b.table)
	b.string(unix.NFTA_SET_NAME, name)
	b.close()
}

// Element is an element of a set or map, as bytes in the layout of the set's definition.
type Element struct {
	Key string
	End string // the last key of a range
	Val string // data of a map; for verdict maps the name of the chain to go to
}

// AddElements adds elements to a set; one that is there with other data is an error.
func (b *Batch) AddElements(set Set, elements []Element) { b.elements(set, elements, true) }

// DeleteElements removes elements from a set; one that is not there is an error.
func (b *Batch) DeleteElements(set Set, elements []Element) { b.elements(set, elements, false) }

func (b *Batch) elements(set Set, elements []Element, add bool) {
	kind, flags, verb := uint16(unix.NFT_MSG_DELSETELEM), uint16(0), "delete"
	if add {
		kind, flags, verb = unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, "add"
	}
	if len(elements) > 0 {
		one := len(elements[0].Key) + len(elements[0].End) + len(elements[0].Val)
		b.buf = slices.Grow(b.buf, len(elements)*(one+elementOverhead))
	}
	for len(elements) > 0 {
		b.open(kind, flags, verb+" elements of set "+set.Name)
		b.string(unix.NFTA_SET_ELEM_LIST_TABLE, b.table)
		b.string(unix.NFTA_SET_ELEM_LIST_SET, set.Name)
		list := b.begin(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for len(elements) > 0 && len(b.buf)-list < attributeLimit {
			b.element(set, elements[0], add)
			elements = elements[1:]
		}
		b.end(list)
		b.close()
	}
}

// elementOverhead is what the attributes around the data of an element take, more or less.
const elementOverhead = 32

func (b *Batch) element(set Set, e Element, add bool) {
	const keyEnd = 10 // NFTA_SET_ELEM_KEY_END
	item := b.begin(unix.NFTA_LIST_ELEM)
	b.value(unix.NFTA_SET_ELEM_KEY, e.Key)
	if e.End != "" {
		b.value(keyEnd, e.End)
	}
	switch {
	case !add || len(set.Data) == 0:
	case set.Data[0] == Verdict():
		data := b.begin(unix.NFTA_SET_ELEM_DATA)
		verdict := b.begin(unix.NFTA_DATA_VERDICT)
		b.uint32(unix.NFTA_VERDICT_CODE, gotoCode)
		b.string(unix.NFTA_VERDICT_CHAIN, e.Val)
		b.end(verdict)
		b.end(data)
	default:
		b.value(unix.NFTA_SET_ELEM_DATA, e.Val)
	}
	b.end(item)
}

const gotoCode = 0xfffffffc // NFT_GOTO, -4

func (b *Batch) value(kind uint16, v string) {
	data := b.begin(kind)
	b.raw(unix.NFTA_DATA_VALUE, v)
	b.end(data)
}
