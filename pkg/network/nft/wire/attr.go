package wire

import "encoding/binary"

const (
	attrHeader = 4
	attrNested = 0x8000
	attrMask   = 0x3fff
)

// encoder appends netlink attributes (linux/netlink.h struct nlattr); integers of nf_tables are big-endian.
type encoder struct{ buf []byte }

func (e *encoder) bytes(kind uint16, data []byte) {
	e.header(kind, len(data))
	e.buf = append(e.buf, data...)
	e.pad()
}

func (e *encoder) raw(kind uint16, data string) {
	e.header(kind, len(data))
	e.buf = append(e.buf, data...)
	e.pad()
}

func (e *encoder) string(kind uint16, s string) {
	e.header(kind, len(s)+1)
	e.buf = append(e.buf, s...)
	e.buf = append(e.buf, 0)
	e.pad()
}

func (e *encoder) uint32(kind uint16, v uint32) {
	e.header(kind, 4)
	e.buf = binary.BigEndian.AppendUint32(e.buf, v)
}

// begin opens a nested attribute; end closes it.
func (e *encoder) begin(kind uint16) int {
	e.header(kind|attrNested, 0)
	return len(e.buf) - attrHeader
}

func (e *encoder) end(start int) {
	binary.NativeEndian.PutUint16(e.buf[start:], uint16(len(e.buf)-start))
}

func (e *encoder) header(kind uint16, size int) {
	e.buf = binary.NativeEndian.AppendUint16(e.buf, uint16(attrHeader+size))
	e.buf = binary.NativeEndian.AppendUint16(e.buf, kind)
}

func (e *encoder) pad() {
	for len(e.buf)%4 != 0 {
		e.buf = append(e.buf, 0)
	}
}

// attributes calls visit with each attribute of data; what is cut off at the end is ignored.
func attributes(data []byte, visit func(kind uint16, value []byte)) {
	for len(data) >= attrHeader {
		size := int(binary.NativeEndian.Uint16(data))
		if size < attrHeader || size > len(data) {
			return
		}
		visit(binary.NativeEndian.Uint16(data[2:])&attrMask, data[attrHeader:size])
		data = data[min(align(size), len(data)):]
	}
}

// text is a string attribute without the zero byte at its end.
func text(value []byte) string {
	if n := len(value); n > 0 && value[n-1] == 0 {
		value = value[:n-1]
	}
	return string(value)
}

func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

func align(n int) int { return (n + 3) &^ 3 }
