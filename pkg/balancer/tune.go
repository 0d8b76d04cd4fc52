package balancer

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// limits say how long the kernel waits for a server that says nothing.
type limits struct {
	unacknowledged time.Duration // TCP_USER_TIMEOUT in tcp(7)
	idle, interval time.Duration // of keep-alive probes, whole seconds; with the former limit one probe without an answer is enough
}

// limitsOf says how patient to be. A sentinel's first unanswered probe is 1 s after the server's last word, and the kernel gives up
// a second later. Without another server there is no hurry; the one that the user named may be the same under another name.
func limitsOf(alternatives, sentinel bool) limits {
	switch {
	case !alternatives:
		return limits{30 * time.Second, 15 * time.Second, 15 * time.Second}
	case sentinel:
		return limits{1500 * time.Millisecond, time.Second, time.Second}
	default:
		return limits{1500 * time.Millisecond, 15 * time.Second, 5 * time.Second}
	}
}

// tune sets the limits of all connections to some servers. It is called with the mutex held, whenever the servers or the
// connections change.
func (b *Balancer) tune(servers ...*server) {
	for _, s := range servers {
		for l := range s.links {
			if s.sentinel == nil {
				s.sentinel = l
			}
			want := limitsOf(len(b.known) > 1, l == s.sentinel)
			if err := l.set(want); err != nil && !errors.Is(err, net.ErrClosed) {
				b.cfg.Log.Debug("limits of a connection were not set", "server", s.address, "error", err)
			}
		}
	}
}

// listed is called with the mutex held.
func (b *Balancer) listed(s *server) bool { return slices.Contains(b.servers, s) }

// set sets the limits of a link unless it has them.
func (l *link) set(want limits) error {
	if l.limits == want {
		return nil
	}
	l.limits = want
	err := l.upstream.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: want.idle, Interval: want.interval, Count: 3})
	if err != nil {
		return fmt.Errorf("set keep-alive: %w", err)
	}
	raw, err := l.upstream.SyscallConn()
	if err != nil {
		return fmt.Errorf("get socket: %w", err)
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(want.unacknowledged.Milliseconds()))
	})
	if err := errors.Join(err, inner); err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
