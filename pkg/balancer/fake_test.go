package balancer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of these tests; a fast machine needs a fraction of it.
const patience = 10 * time.Second

// fake is a server that answers each line with its name and the line.
type fake struct {
	name, address string
	mu            sync.Mutex
	listener      net.Listener
	conns         map[net.Conn]struct{}
}

func newFake(t *testing.T, name string) *fake {
	t.Helper()
	return startFake(t, name, "127.0.0.1:0")
}

func startFake(t *testing.T, name, address string) *fake {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{name: name, address: l.Addr().String(), listener: l, conns: map[net.Conn]struct{}{}}
	go f.serve(l)
	t.Cleanup(f.kill)
	return f
}

func (f *fake) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns[conn] = struct{}{}
		f.mu.Unlock()
		go func() {
			defer func() { _ = conn.Close() }()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				if _, err := fmt.Fprintln(conn, f.name, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

// deafen closes the port and leaves connections alone, as a server does that is about to stop.
func (f *fake) deafen() { _ = f.listener.Close() }

func (f *fake) kill() {
	f.deafen()
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.Close()
	}
}

// client is a connection through the balancer.
type client struct {
	conn  net.Conn
	lines *bufio.Reader
}

func connectTo(t *testing.T, b *Balancer) *client {
	t.Helper()
	conn, err := net.Dial("tcp", b.cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, bufio.NewReader(conn)}
}

// ask returns the name of the server that answers, or "" when the connection is over.
func (c *client) ask(t *testing.T) string {
	t.Helper()
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c.conn, "who"); err != nil {
		return ""
	}
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(line, " who\n")
}

// awaitEnd waits until the balancer closes the connection and returns how long that took.
func (c *client) awaitEnd(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := c.conn.SetDeadline(begin.Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.lines.ReadString('\n'); err == nil || isTimeout(err) {
		t.Fatalf("the connection is not closed: %v", err)
	}
	return time.Since(begin)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func who(t *testing.T, b *Balancer) string {
	t.Helper()
	c := connectTo(t, b)
	defer func() { _ = c.conn.Close() }()
	return c.ask(t)
}

// awaitWho waits until new connections are answered by a server.
func awaitWho(t *testing.T, b *Balancer, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	got := ""
	for begin := time.Now(); time.Since(begin) < patience; <-tick.C {
		if got = who(t, b); got == want {
			return
		}
	}
	t.Fatalf("answered by %q, want %q", got, want)
}

// run runs a balancer until the test ends. The servers are known in advance when they are given.
func run(t *testing.T, cfg Config, servers ...*fake) *Balancer {
	t.Helper()
	if cfg.File == "" {
		cfg.File = filepath.Join(t.TempDir(), "servers.json")
	}
	cfg.Node, cfg.Log = "a", slog.New(slog.DiscardHandler)
	cfg.Listen = freePort(t)
	if cfg.Seed == "" {
		cfg.Seed = servers[0].address
	}
	b := New(cfg)
	var addresses []string
	for _, s := range servers {
		addresses = append(addresses, s.address)
	}
	b.SetServers(addresses)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// ranked returns fakes in the balancer's order.
func ranked(b *Balancer, fakes ...*fake) []*fake {
	var out []*fake
	for _, address := range b.Servers() {
		for _, f := range fakes {
			if f.address == address {
				out = append(out, f)
			}
		}
	}
	return out
}
