package balancer

import (
	"context"
	"errors"
	"net"
	"slices"
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
	s.down = true
	if !s.announced {
		s.announced = true
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
	if err != nil {
		b.setDown(s, err)
	} else if s.down = false; s.announced {
		s.announced = false
		b.cfg.Log.Info("API server is up", "server", s.address)
	}
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

// surveyPatience is how long the first server of a node's order may take to answer when another one has answered.
const surveyPatience = 200 * time.Millisecond

// survey asks all servers at the start, because a remembered one may be gone, or be part of another cluster by now, and returns when it is clear
// which one to use. A single server needs no choice.
func (b *Balancer) survey(ctx context.Context) {
	b.mu.Lock()
	servers := slices.Clone(b.servers)
	if len(servers) < 2 {
		b.mu.Unlock()
		return
	}
	for _, s := range servers {
		s.down, s.checking = true, true
	}
	b.mu.Unlock()
	answers := make(chan *server, len(servers))
	for _, s := range servers {
		b.checks.Go(func() {
			err := b.ask(ctx, s)
			over := ctx.Err() != nil || b.judge(s, err)
			if answers <- s; !over {
				pause(ctx, firstPause)
				b.watch(ctx, s)
			}
		})
	}
	var enough <-chan time.Time
	for range servers {
		select {
		case s := <-answers:
			up := b.isUp(s)
			if up && s == servers[0] {
				return
			}
			if up && enough == nil {
				enough = time.After(surveyPatience)
			}
		case <-enough:
			return
		}
	}
}

func (b *Balancer) isUp(s *server) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !s.down
}
