package space

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Repeats is how many packets the client of a TCP connection has sent again (tcp(7), TCP_INFO). Right after Dial it tells whether the first
// one got lost, for which the client waits a second, however busy the machine is.
func Repeats(conn net.Conn) (n int, err error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, errors.New("count repeated packets: not a TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("count repeated packets: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if failed = err; err == nil {
			n = int(info.Total_retrans)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return 0, fmt.Errorf("count repeated packets: %w", err)
	}
	return n, nil
}
