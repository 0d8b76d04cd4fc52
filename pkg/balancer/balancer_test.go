package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// TestSticky: all connections of a node go to the first server of its order.
func TestSticky(t *testing.T) {
	fakes := []*fake{newFake(t, "x"), newFake(t, "y"), newFake(t, "z")}
	b := run(t, Config{}, fakes...)
	want := ranked(b, fakes...)[0].name
	for range 20 {
		if got := who(t, b); got != want {
			t.Fatalf("answered by %s, want %s", got, want)
		}
	}
}

// TestFailover: a server that dies takes its own connections along and no others; the next one answers at once.
func TestFailover(t *testing.T) {
	fakes := []*fake{newFake(t, "x"), newFake(t, "y")}
	b := run(t, Config{}, fakes...)
	order := ranked(b, fakes...)
	first, second := order[0], order[1]
	b.SetServers([]string{second.address})
	healthy := connectTo(t, b)
	if got := healthy.ask(t); got != second.name {
		t.Fatalf("answered by %s, want %s", got, second.name)
	}
	b.SetServers([]string{first.address, second.address})
	victim := connectTo(t, b)
	if got := victim.ask(t); got != first.name {
		t.Fatalf("answered by %s, want %s", got, first.name)
	}

	begin := time.Now()
	first.kill()
	victim.awaitEnd(t)
	if got := who(t, b); got != second.name {
		t.Errorf("after the death of %s answered by %q, want %s", first.name, got, second.name)
	}
	t.Logf("a new connection was served %s after the death", time.Since(begin))
	if got := healthy.ask(t); got != second.name {
		t.Errorf("a connection to the healthy server is answered by %q", got)
	}

	startFake(t, first.name, first.address)
	awaitWho(t, b, first.name)
	if got := healthy.ask(t); got != second.name {
		t.Errorf("a connection to the second server does not outlive the first one's return: %q", got)
	}
}

// TestDraining: a server that stops listening and finishes what it has keeps its connections.
func TestDraining(t *testing.T) {
	fakes := []*fake{newFake(t, "x"), newFake(t, "y")}
	b := run(t, Config{}, fakes...)
	order := ranked(b, fakes...)
	c := connectTo(t, b)
	c.ask(t)
	order[0].deafen()
	awaitWho(t, b, order[1].name)
	if got := c.ask(t); got != order[0].name {
		t.Errorf("the connection to the draining server is answered by %q", got)
	}
}

// TestNotReady: a server that was down gets connections when it says that it serves, not when its port opens.
func TestNotReady(t *testing.T) {
	fakes := []*fake{newFake(t, "x"), newFake(t, "y")}
	var ill atomic.Bool
	asked, well := make(chan string, 100), make(chan string, 100)
	b := run(t, Config{Check: func(_ context.Context, address string) error {
		if ill.Load() {
			asked <- address
			return errors.New("readyz is 500")
		}
		well <- address
		return nil
	}}, fakes...)
	for range fakes { // the start asks each once
		<-well
	}
	order := ranked(b, fakes...)
	awaitWho(t, b, order[0].name)
	ill.Store(true)
	order[0].kill()
	awaitWho(t, b, order[1].name)
	startFake(t, order[0].name, order[0].address)
	for range 2 {
		if got := <-asked; got != order[0].address {
			t.Fatalf("%s was asked, want %s", got, order[0].address)
		}
	}
	if got := who(t, b); got != order[1].name {
		t.Errorf("answered by %q while the first server is not ready", got)
	}
	ill.Store(false)
	awaitWho(t, b, order[0].name)
}

// TestRemembered: after a restart any one remembered server is enough, although the one that the user named is gone.
func TestRemembered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent", "servers.json")
	dead, alive := newFake(t, "dead"), newFake(t, "alive")
	b := New(Config{Seed: dead.address, Node: "a", File: file})
	b.cfg.Log = discard()
	b.SetServers([]string{dead.address, alive.address})
	b.SetServers(nil) // is not believed
	dead.kill()

	again := run(t, Config{Seed: dead.address, File: file})
	if got := who(t, again); got != "alive" {
		t.Errorf("answered by %q", got)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("files %v, error %v; want only the remembered servers", entries, err)
	}
}

// TestStrangers: a remembered server that is another one's now gets no connection, not even the first.
func TestStrangers(t *testing.T) {
	fakes := []*fake{newFake(t, "x"), newFake(t, "y"), newFake(t, "z")}
	file := filepath.Join(t.TempDir(), "servers.json")
	b := New(Config{Seed: fakes[0].address, Node: "a", File: file, Log: discard()})
	b.SetServers([]string{fakes[0].address, fakes[1].address, fakes[2].address})
	order := ranked(b, fakes...)
	again := run(t, Config{Seed: order[0].address, File: file, Check: func(_ context.Context, address string) error {
		if address != order[2].address {
			return errors.New("certificate signed by unknown authority")
		}
		return nil
	}})
	if got := who(t, again); got != order[2].name {
		t.Errorf("answered by %q, want %s", got, order[2].name)
	}
}

// TestNobody: without a server connections end at once, and the first server that comes is used.
func TestNobody(t *testing.T) {
	seed := newFake(t, "seed")
	seed.kill()
	b := run(t, Config{Seed: seed.address})
	if got := who(t, b); got != "" {
		t.Errorf("answered by %q", got)
	}
	startFake(t, "seed", seed.address)
	if got := who(t, b); got != "seed" {
		t.Errorf("answered by %q although the only server is there", got)
	}
}

// TestHalfClose: a client may end its part first and still get the answer.
func TestHalfClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.Copy(conn, conn) // answers until the client's end arrives
	}()
	b := run(t, Config{Seed: l.Addr().String()})
	c := connectTo(t, b)
	if _, err := c.conn.Write([]byte("all")); err != nil {
		t.Fatal(err)
	}
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c.conn); err != nil || string(got) != "all" {
		t.Errorf("received %q, error %v", got, err)
	}
}

// TestChanged: who follows the servers is told.
func TestChanged(t *testing.T) {
	b := New(Config{Seed: "192.0.2.9:6443", Node: "a", File: filepath.Join(t.TempDir(), "f"), Log: discard()})
	changed := b.Changed()
	b.SetServers([]string{"192.0.2.1:6443"})
	<-changed
	changed = b.Changed()
	b.SetServers([]string{"192.0.2.1:6443", "192.0.2.1:6443"})
	select {
	case <-changed:
		t.Error("the same servers are a change")
	default:
	}
}

// TestStop: the end closes what is open, in no time.
func TestStop(t *testing.T) {
	f := newFake(t, "x")
	b := New(Config{Listen: freePort(t), Seed: f.address, Node: "a", File: filepath.Join(t.TempDir(), "f"), Log: discard()})
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.Run(ctx, func() { close(ready) }) }()
	<-ready
	c := connectTo(t, b)
	c.ask(t)
	cancel()
	c.awaitEnd(t)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRebalance: a node that learns of the servers moves to its own.
func TestRebalance(t *testing.T) {
	fakes := []*fake{newFake(t, "x"), newFake(t, "y")}
	b := run(t, Config{}, fakes...)
	if !b.Known() {
		t.Error("the servers are not known")
	}
	order := ranked(b, fakes...)
	b.SetServers([]string{order[1].address})
	stray := connectTo(t, b)
	stray.ask(t)
	b.SetServers([]string{order[0].address, order[1].address})
	settled := connectTo(t, b)
	settled.ask(t)
	b.Rebalance()
	stray.awaitEnd(t)
	if got := settled.ask(t); got != order[0].name {
		t.Errorf("the connection to the right server is answered by %q", got)
	}
}
