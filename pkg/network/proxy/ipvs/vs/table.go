package vs

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Table is the kernel's text of all virtual servers with their destinations: the only way to read all destinations at once.
type Table struct{ file *os.File }

// OpenTable opens the table of the network namespace of the calling thread.
func OpenTable() (*Table, error) {
	f, err := os.Open("/proc/thread-self/net/ip_vs")
	if err != nil {
		return nil, fmt.Errorf("open table of virtual servers: %w", err)
	}
	return &Table{f}, nil
}

// Close closes the file.
func (t *Table) Close() error {
	if err := t.file.Close(); err != nil {
		return fmt.Errorf("close table of virtual servers: %w", err)
	}
	return nil
}

// Dests reads the destinations of all virtual servers. The table does not tell the family of a firewall mark: they come with V6 false.
func (t *Table) Dests() (map[ID][]Dest, error) {
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read table of virtual servers: %w", err)
	}
	return parseTable(t.file)
}

// parseTable reads lines such as
//
//	TCP  0A2B0001:0050 rr
//	  -> 0A2A0002:1F90      Masq    1      0          0
//	TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 rr persistent 10800 128
//	FWM  00004000 rr
func parseTable(r io.Reader) (map[ID][]Dest, error) {
	all := map[ID][]Dest{}
	var current ID
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		var err error
		switch {
		case len(f) < 3 || f[0] == "IP" || f[0] == "Prot" || f[1] == "RemoteAddress:Port":
			continue // the heading
		case f[0] == "->":
			var d Dest
			if d, err = parseDest(f); err == nil {
				all[current] = append(all[current], d)
			}
		default:
			if current, err = parseID(f[0], f[1]); err == nil {
				all[current] = nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read table of virtual servers: line %q: %w", lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read table of virtual servers: %w", err)
	}
	return all, nil
}

func parseID(kind, name string) (ID, error) {
	if kind == "FWM" {
		mark, err := strconv.ParseUint(name, 16, 32)
		return ID{Mark: uint32(mark)}, err
	}
	at, err := parseAddrPort(name)
	id := ID{AddrPort: at, V6: at.Addr().Is6()}
	switch kind {
	case "TCP":
		id.Protocol = unix.IPPROTO_TCP
	case "UDP":
		id.Protocol = unix.IPPROTO_UDP
	case "SCTP":
		id.Protocol = unix.IPPROTO_SCTP
	}
	return id, err
}

func parseDest(f []string) (Dest, error) {
	if len(f) < 6 {
		return Dest{}, errors.New("fewer than six fields")
	}
	at, err := parseAddrPort(f[1])
	d := Dest{AddrPort: at}
	for i, to := range []*uint32{&d.Weight, &d.Active, &d.Inactive} {
		n, e := strconv.ParseUint(f[3+i], 10, 32)
		*to, err = uint32(n), errors.Join(err, e)
	}
	return d, err
}

// parseAddrPort reads an address, hexadecimal for IPv4 and in brackets for IPv6, and a hexadecimal port.
func parseAddrPort(s string) (netip.AddrPort, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.AddrPort{}, errors.New("no port")
	}
	port, err := strconv.ParseUint(s[i+1:], 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if inner, ok := strings.CutPrefix(s[:i], "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return netip.AddrPortFrom(addr, uint16(port)), err
	}
	raw, err := hex.DecodeString(s[:i])
	addr, ok := netip.AddrFromSlice(raw)
	if err != nil || !ok {
		return netip.AddrPort{}, errors.New("no IPv4 address")
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
