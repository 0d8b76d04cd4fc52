package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

const (
	// dialTimeout bounds the connection to one server. A lost SYN is repeated after a second.
	dialTimeout = 1500 * time.Millisecond
	// headStart is how long a server may take before the next one is tried beside it.
	headStart = 300 * time.Millisecond
)

// attempt is the outcome of a connection to one server.
type attempt struct {
	conn   *net.TCPConn
	server *server
	err    error
}

// dial connects to the first server of this node's order that answers. Servers that are down come last; one that is slow does not
// keep the next from being tried.
func (b *Balancer) dial(ctx context.Context) (*net.TCPConn, *server, error) {
	race, cancel := context.WithCancel(ctx)
	defer cancel()
	waiting := b.candidates()
	results := make(chan attempt, len(waiting))
	patience := time.NewTimer(headStart)
	defer patience.Stop()
	var running []*server
	next := func() {
		if len(waiting) == 0 {
			return
		}
		s := waiting[0]
		waiting, running = waiting[1:], append(running, s)
		go func() { conn, err := connect(race, s.address); results <- attempt{conn, s, err} }()
		patience.Reset(headStart)
	}
	var errs []error
	for next(); len(running) > 0; {
		select {
		case <-patience.C:
		case r := <-results:
			running = slices.DeleteFunc(running, func(s *server) bool { return s == r.server })
			if r.err == nil {
				b.abandon(ctx, running, results)
				return r.conn, r.server, nil
			}
			errs = append(errs, r.err)
			if ctx.Err() == nil {
				b.failed(ctx, r.server, r.err)
			}
		}
		next()
	}
	return nil, nil, errors.Join(errs...)
}

// abandon closes the connections that come too late, and has the servers checked that were overtaken.
func (b *Balancer) abandon(ctx context.Context, running []*server, results <-chan attempt) {
	for _, s := range running {
		b.suspect(ctx, s)
		b.checks.Go(func() {
			if r := <-results; r.err == nil {
				_ = r.conn.Close()
			}
		})
	}
}

// candidates are the servers in the order in which to try them.
func (b *Balancer) candidates() []*server {
	b.mu.Lock()
	defer b.mu.Unlock()
	up, down := make([]*server, 0, len(b.servers)), []*server(nil)
	for _, s := range b.servers {
		if s.down {
			down = append(down, s)
		} else {
			up = append(up, s)
		}
	}
	return append(up, down...)
}

// connect opens a connection. Keep-alive probes are set when the connection is in use.
func connect(ctx context.Context, address string) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to API server: %w", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to API server %s: got a %T, want a TCP connection", address, conn)
	}
	return tcp, nil
}
