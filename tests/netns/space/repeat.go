package space

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// synTimeout is when Linux sends the first packet of a connection again (TCP_TIMEOUT_INIT).
const synTimeout = time.Second

// LostFirst tells, right after Dial, whether the first packet of a TCP connection or the answer to it got lost (tcp(7), TCP_INFO): it was
// sent again, and what was answered is not the first one, only late. A busy machine makes no difference.
func LostFirst(conn net.Conn) (lost bool, err error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false, errors.New("look for lost packets: not a TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("look for lost packets: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if failed = err; err == nil {
			lost = info.Total_retrans > 0 && time.Duration(info.Rtt)*time.Microsecond < synTimeout
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return false, fmt.Errorf("look for lost packets: %w", err)
	}
	return lost, nil
}
