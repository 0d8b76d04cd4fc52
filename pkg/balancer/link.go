package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// server is one API server. Its fields but the address are guarded by the balancer's mutex.
type server struct {
	address   string
	down      bool // a connection failed, and no check has succeeded since; at the start: no check has succeeded yet
	announced bool // it was logged that it is down
	checking  bool
	links     map[*link]struct{}
	sentinel  *link // the one whose keep-alive probes are quick
}

// link is a client's connection and the one to a server that serves it.
type link struct {
	client   net.Conn
	upstream *net.TCPConn
	server   *server
	limits   limits // guarded by the balancer's mutex
	once     sync.Once
}

// close ends both connections; the goroutines that copy end by it.
func (l *link) close() {
	l.once.Do(func() {
		_ = l.client.Close()
		_ = l.upstream.Close()
	})
}

// serve connects a client to a server and copies until one of them is done.
func (b *Balancer) serve(ctx context.Context, client net.Conn) {
	if !b.enter(ctx, client) {
		return
	}
	defer b.leave(client)
	upstream, s, err := b.dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.cfg.Log.Debug("no API server can be reached", "error", err)
		}
		return
	}
	l := &link{client: client, upstream: upstream, server: s}
	b.attach(l)
	defer b.detach(l)
	var copies sync.WaitGroup
	copies.Go(func() { b.copy(ctx, l, l.upstream, client) })
	b.copy(ctx, l, client, l.upstream)
	copies.Wait()
}

// copy moves bytes until the source ends, which is passed on, or one side fails, which ends the link.
func (b *Balancer) copy(ctx context.Context, l *link, to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		l.close()
		if !errors.Is(err, net.ErrClosed) {
			b.failed(ctx, l.server, err)
		}
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		l.close()
	}
}

// enter registers a client so that the end of Run closes it.
func (b *Balancer) enter(ctx context.Context, client net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil { // closeAll may have come before
		_ = client.Close()
		return false
	}
	b.open[client] = struct{}{}
	return true
}

func (b *Balancer) leave(client net.Conn) {
	_ = client.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, client)
}

// closeAll ends all links by closing their clients.
func (b *Balancer) closeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for client := range b.open {
		_ = client.Close()
	}
}

func (b *Balancer) attach(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.server.links[l] = struct{}{}
	b.tune(l.server)
}

func (b *Balancer) detach(l *link) {
	l.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(l.server.links, l)
	if l.server.sentinel == l {
		l.server.sentinel = nil
		b.tune(l.server)
	}
}
