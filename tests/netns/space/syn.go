package space

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dialTCP connects, and tells a connection that was refused at once from one of which the kernel had to send the SYN again. The time
// does not tell: the process may have had to wait for a processor.
func dialTCP(d net.Dialer, target string) (net.Conn, error) {
	socket := -1 // a copy, for the original is closed when the connection fails
	d.Control = func(network, address string, conn syscall.RawConn) error {
		if err := sharePort(network, address, conn); err != nil {
			return err
		}
		if socket >= 0 { // Go tries again in rare cases
			_ = unix.Close(socket)
		}
		var err error
		failed := conn.Control(func(fd uintptr) { socket, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
		return errors.Join(failed, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err))
	}
	defer func() {
		if socket >= 0 {
			_ = unix.Close(socket)
		}
	}()
	conn, err := d.Dial("tcp", target)
	if !errors.Is(err, unix.ECONNREFUSED) {
		return conn, err
	}
	info, failed := unix.GetsockoptTCPInfo(socket, unix.IPPROTO_TCP, unix.TCP_INFO)
	if failed != nil {
		return nil, fmt.Errorf("getsockopt TCP_INFO: %w, after %w", failed, err)
	}
	if info.Total_retrans > 0 {
		return nil, &lateError{again: info.Total_retrans}
	}
	return nil, err
}

// lateError is a refusal that came after the SYN was sent again.
type lateError struct{ again uint32 }

func (e *lateError) Error() string {
	return fmt.Sprintf("refused after its SYN was sent again %d times", e.again)
}
