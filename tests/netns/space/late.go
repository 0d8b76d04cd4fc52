package space

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Where things are in a TCP header (RFC 9293 section 3.1).
const (
	tcpHeader   = 20
	tcpChecksum = 16
	tcpFlags    = 13
	flagAck     = 0x10
	flagReset   = 0x04
)

// Acknowledge sends an acknowledgement that belongs to no connection, as one that comes late does.
func (s *Space) Acknowledge(from, to netip.AddrPort) error {
	err := s.Do(func() error {
		family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte(to.Addr().AsSlice()[:4])})
		source := unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte(from.Addr().AsSlice()[:4])})
		if to.Addr().Is6() {
			family, address, source = unix.AF_INET6, &unix.SockaddrInet6{Addr: to.Addr().As16()}, &unix.SockaddrInet6{Addr: from.Addr().As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Bind(fd, source); err != nil {
			return os.NewSyscallError("bind", err)
		}
		if err := unix.Sendto(fd, acknowledgement(from, to), 0, address); !errors.Is(err, unix.EPERM) { // which is a rule that drops it
			return os.NewSyscallError("sendto", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("send an acknowledgement to %s: %w", to, err)
	}
	return nil
}

func acknowledgement(from, to netip.AddrPort) []byte {
	b := make([]byte, tcpHeader)
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], 1000)
	binary.BigEndian.PutUint32(b[8:], 2000)
	b[12], b[tcpFlags] = tcpHeader/4<<4, flagAck
	binary.BigEndian.PutUint16(b[14:], 1024) // window
	whole := append(append(from.Addr().AsSlice(), to.Addr().AsSlice()...), 0, unix.IPPROTO_TCP, 0, tcpHeader)
	sum := uint32(0)
	for whole = append(whole, b...); len(whole) > 1; whole = whole[2:] {
		sum += uint32(binary.BigEndian.Uint16(whole))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[tcpChecksum:], ^uint16(sum>>16+sum))
	return b
}

// KeepResets drops the TCP resets that the namespace sends, until the returned function is called.
func (s *Space) KeepResets() (stop func() error, err error) {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: "resets"}
	err = s.withTables(func(conn *nftables.Conn) {
		conn.AddTable(table)
		chain := conn.AddChain(&nftables.Chain{
			Name: "output", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
		})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{flagReset}, Xor: []byte{0}},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	})
	return func() error { return s.withTables(func(conn *nftables.Conn) { conn.DelTable(table) }) }, err
}

func (s *Space) withTables(change func(*nftables.Conn)) error {
	return s.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
		change(conn)
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("change nftables: %w", err)
		}
		return nil
	})
}
