package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// firstWait is the pause after a tunnel that ended; it grows by a third each time, up to lastWait, so that a server that was
	// away for a time is found after a fraction of it. A server that answers but refuses is about to be ready.
	firstWait = 100 * time.Millisecond
	readyWait = 300 * time.Millisecond
	lastWait  = 5 * time.Second
	// refusals is how often a server may refuse before it is no longer believed to be starting.
	refusals = 100
	// settled is how long a tunnel must have lasted for the next pause to be the first again.
	settled = 5 * time.Second
)

// Directory knows the API servers' addresses, host and port.
type Directory interface {
	Servers() []string
	// Changed returns a channel that is closed when Servers next changes.
	Changed() <-chan struct{}
}

// ClientConfig of a node's end. All fields are required.
type ClientConfig struct {
	Kubeconfig string // whose certificates are the node's; they are read again for each connection. Its server is not used
	Kubelet    string // host and port of this machine's kubelet: all that the tunnel leads to
	Servers    Directory
	Log        *slog.Logger
}

// Client is a node's end of its tunnels, one to every API server. It is a lifecycle.Component, ready at once: a node
// works without a tunnel.
type Client struct{ cfg ClientConfig }

// NewClient returns a node's end.
func NewClient(cfg ClientConfig) *Client { return &Client{cfg} }

// Name implements lifecycle.Component.
func (c *Client) Name() string { return "tunnel" }

// Run implements lifecycle.Component.
func (c *Client) Run(ctx context.Context, ready func()) error {
	ready()
	var tunnels sync.WaitGroup
	defer tunnels.Wait()
	unwanted := map[string]chan struct{}{}
	for {
		changed := c.cfg.Servers.Changed()
		servers := c.cfg.Servers.Servers()
		for server, gone := range unwanted {
			if !slices.Contains(servers, server) {
				close(gone)
				delete(unwanted, server)
			}
		}
		for _, server := range servers {
			if _, ok := unwanted[server]; !ok {
				gone := make(chan struct{})
				unwanted[server] = gone
				tunnels.Go(func() { c.keep(ctx, server, gone) })
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// keep holds a tunnel to one server until ctx ends. A server that is gone from the list keeps the tunnel that it has, because it may
// be finishing what runs through it, and gets no new one.
func (c *Client) keep(ctx context.Context, server string, gone <-chan struct{}) {
	log := c.cfg.Log.With("server", server)
	wait, refused := firstWait, 0
	for {
		changed := c.cfg.Servers.Changed()
		opened := time.Now()
		err := c.tunnel(ctx, server, func() { opened = time.Now(); log.Info("tunnel to API server is open") })
		if ctx.Err() != nil {
			return
		}
		if time.Since(opened) > settled {
			wait, refused = firstWait, 0
		}
		if errors.Is(err, errRefused) && refused < refusals {
			wait, refused = readyWait, refused+1
		}
		log.Debug("no tunnel to API server", "error", err, "retryIn", wait)
		var wanted bool
		if wait, wanted = c.rest(ctx, wait, changed, gone); !wanted {
			return
		}
	}
}

// rest waits between two attempts. It returns the next pause, and whether the server is still wanted.
func (c *Client) rest(ctx context.Context, wait time.Duration, changed, gone <-chan struct{}) (time.Duration, bool) {
	timer := time.NewTimer(jitter(wait))
	defer timer.Stop()
	next := min(wait+wait/3, lastWait)
	select {
	case <-timer.C:
	case <-changed: // a server that comes up lists itself
		next = firstWait
	case <-gone:
	case <-ctx.Done():
	}
	select {
	case <-gone:
		return next, false
	default:
		return next, true
	}
}

// jitter spreads nodes that lost the same server.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

// tunnel opens a tunnel and serves it until it ends.
func (c *Client) tunnel(ctx context.Context, server string, opened func()) error {
	conn, err := c.connect(ctx, server)
	if err != nil {
		return err
	}
	opened()
	return c.serve(ctx, conn)
}

// only is a listener that accepts one connection and ends with it.
type only struct {
	conn net.Conn
	once sync.Once
	over chan struct{}
	used bool
}

func (o *only) Accept() (net.Conn, error) {
	if !o.used {
		o.used = true
		return single{o.conn, o}, nil
	}
	<-o.over
	return nil, net.ErrClosed
}

func (o *only) Close() error {
	o.once.Do(func() { close(o.over) })
	return nil
}

func (o *only) Addr() net.Addr { return o.conn.LocalAddr() }

// single ends its listener. It also hides that the connection is TLS from a server that would negotiate the protocol by it.
type single struct {
	net.Conn
	listener *only
}

func (s single) Close() error {
	_ = s.listener.Close() // never fails
	return s.Conn.Close()
}
