package balancer

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askTimeout bounds the question whether a server serves.
	askTimeout = 3 * time.Second
	// firstPause is the time between the first two questions; it doubles up to lastPause.
	firstPause = 200 * time.Millisecond
	lastPause  = 5 * time.Second
)

// failed judges the error of a connection to a server. The kernel's word that a server does not answer is believed at once: all
// connections to it are closed. Other errors may be the client's, or of a server that still serves what it has: it is asked.
func (b *Balancer) failed(ctx context.Context, s *server, err error) {
	if errors.Is(err, unix.ETIMEDOUT) {
		b.lose(s, err)
	}
	b.suspect(ctx, s)
}

// vanished tells whether an attempt to connect says that nobody is there, in contrast to somebody who refuses.
func vanished(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH)
}

// lose closes all connections to a server that vanished, so that their clients go to another one, and takes it for down.
func (b *Balancer) lose(s *server, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setDown(s, err)
	for l := range s.links {
		l.close()
	}
}

// setDown is called with the mutex held.
func (b *Balancer) setDown(s *server, err error) {
	if !s.down {
		s.down = true
		b.cfg.Log.Info("API server is down", "server", s.address, "error", err)
	}
}

// suspect asks a server until it serves or is no longer listed, unless that is being done.
func (b *Balancer) suspect(ctx context.Context, s *server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.checking || ctx.Err() != nil {
		return
	}
	s.checking = true
	b.checks.Go(func() { b.watch(ctx, s) })
}

// watch asks a server again and again until it serves.
func (b *Balancer) watch(ctx context.Context, s *server) {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := b.ask(ctx, s)
		if ctx.Err() != nil || b.judge(s, err) {
			return
		}
		pause(ctx, wait)
	}
}

// judge notes the answer and tells whether no further question is needed.
func (b *Balancer) judge(s *server, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && s.down {
		b.cfg.Log.Info("API server is up", "server", s.address)
	}
	if err != nil {
		b.setDown(s, err)
	}
	s.down = err != nil
	s.checking = err != nil && b.listed(s)
	return !s.checking
}

// ask tells whether a server serves. When nobody is there, its connections are closed.
func (b *Balancer) ask(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := connect(ctx, s.address)
	if err != nil {
		if vanished(err) {
			b.lose(s, err)
		}
		return err
	}
	_ = conn.Close()
	if b.cfg.Check == nil {
		return nil
	}
	return b.cfg.Check(ctx, s.address)
}
