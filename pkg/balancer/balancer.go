package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Config of a balancer.
type Config struct {
	Listen string       // required: address and port on the loopback interface, such as 127.0.0.1:6444
	Seed   string       // required: host and port of the server that the user named; tried after all others
	Node   string       // required: the node's name, which decides about the order of the servers
	File   string       // required: where the servers are remembered
	Log    *slog.Logger // required

	// Check is optional: it asks a server that was down whether it serves again. Without it a TCP connection is enough.
	Check func(ctx context.Context, address string) error
}

// Balancer is the load balancer; it is a lifecycle.Component, ready when it listens.
type Balancer struct {
	cfg Config

	mu      sync.Mutex
	known   []string  // the endpoints; empty until they are known or remembered
	servers []*server // ranked
	changed chan struct{}
	open    map[net.Conn]struct{} // clients

	serving sync.WaitGroup // clients
	checks  sync.WaitGroup // of servers that may be down
}

// New returns a balancer that knows the seed and what was remembered.
func New(cfg Config) *Balancer {
	b := &Balancer{cfg: cfg, changed: make(chan struct{}), open: map[net.Conn]struct{}{}}
	known, err := recall(cfg.File)
	if err != nil {
		cfg.Log.Warn("remembered servers are not usable; going on with the one that was given", "server", cfg.Seed, "error", err)
	}
	b.known = known
	b.servers = b.merge(known)
	return b
}

// Name implements lifecycle.Component.
func (b *Balancer) Name() string { return "balancer" }

// Run implements lifecycle.Component. At the end it closes all connections.
func (b *Balancer) Run(ctx context.Context, ready func()) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", b.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for local clients of the API server: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close() // ends accept
		b.closeAll()
	})
	b.cfg.Log.Debug("balancer listens", "address", b.cfg.Listen, "servers", b.Servers())
	b.survey(ctx)
	ready()
	err = b.accept(ctx, l)
	cancel()
	stop()
	b.closeAll()
	b.serving.Wait()
	b.checks.Wait()
	return err
}

// accept serves clients until ctx ends. Lack of file descriptors and the like passes by.
func (b *Balancer) accept(ctx context.Context, l net.Listener) error {
	for {
		client, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = client.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept local clients: %w", err)
		case err != nil:
			b.cfg.Log.Warn("a local client was not accepted", "error", err)
			pause(ctx, acceptPause)
			continue
		}
		b.serving.Go(func() { b.serve(ctx, client) })
	}
}

// acceptPause is how long nothing is accepted after a failure.
const acceptPause = 100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Servers returns the addresses of all servers in this node's order, the seed included.
func (b *Balancer) Servers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]string, 0, len(b.servers))
	for _, s := range b.servers {
		out = append(out, s.address)
	}
	return out
}

// Changed returns a channel that is closed when the servers next change. Ask for it before Servers.
func (b *Balancer) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// SetServers replaces the endpoints and remembers them. An empty list is not believed: a cluster that can be asked has a server.
// Connections to servers that are no longer listed go on until they end.
func (b *Balancer) SetServers(addresses []string) {
	addresses = slices.Clone(addresses)
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	b.mu.Lock()
	if len(addresses) == 0 || slices.Equal(addresses, b.known) {
		b.mu.Unlock()
		return
	}
	b.known = addresses
	b.servers = b.merge(addresses)
	b.tune(b.servers...)
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	b.cfg.Log.Debug("API servers changed", "servers", addresses)
	if err := remember(b.cfg.File, addresses); err != nil {
		b.cfg.Log.Warn("servers were not remembered; the next start knows the former ones", "error", err)
	}
}

// Known tells whether the endpoints have been known, now or in a former run.
func (b *Balancer) Known() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.known) > 0
}

// Rebalance closes the connections that are not to the first server of this node's order, unless that one is down. It is for the first
// start of a node, whose first requests all went to the server that the user named.
func (b *Balancer) Rebalance() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.servers[0].down {
		return
	}
	for _, s := range b.servers[1:] {
		for l := range s.links {
			l.close()
		}
	}
}

// merge returns the ranked servers for a list of endpoints, keeping what is known of each.
func (b *Balancer) merge(addresses []string) []*server {
	var out []*server
	for _, address := range rank(b.cfg.Node, addresses, b.cfg.Seed) {
		i := slices.IndexFunc(b.servers, func(s *server) bool { return s.address == address })
		if i >= 0 {
			out = append(out, b.servers[i])
			continue
		}
		out = append(out, &server{address: address, links: map[*link]struct{}{}})
	}
	return out
}
