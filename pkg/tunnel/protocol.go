package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Path of the API server on which a node opens its tunnel. Nodes need the verb get for it.
	Path = "/kedge/v1/tunnel"
	// protocol is what the request is upgraded to.
	protocol = "kedge-tunnel-1"
	// streams is how many connections one tunnel carries at a time.
	streams = 1000
)

// The kernel's limits for both ends of a tunnel. A lost peer is noticed after keepAlive × (1 + probes) at rest and after
// unacknowledged when something is sent.
const (
	keepAlive      = 5 * time.Second
	probes         = 3
	unacknowledged = 5 * time.Second
)

// harden sets the kernel's limits on the TCP connection below conn, if there is one.
func harden(conn net.Conn) error {
	if outer, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = outer.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: probes}); err != nil {
		return fmt.Errorf("set keep-alive: %w", err)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return fmt.Errorf("get socket: %w", err)
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
	})
	if err := errors.Join(err, inner); err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}

// onlyHTTP2 is HTTP/2 without TLS of its own: the tunnel is inside of TLS.
func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}
