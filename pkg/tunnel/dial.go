package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// fresh is how long after the start, or after the end of a node's last tunnel, a new one is expected at any moment.
	fresh = 30 * time.Second
	// headStart is what an expected tunnel gets before the direct way is tried beside it.
	headStart = time.Second
	// await is how long an expected tunnel is waited for when the direct way has failed: longer than nodes pause between attempts.
	await = 8 * time.Second
	// directTimeout bounds a direct connection.
	directTimeout = 10 * time.Second
)

// Dial connects to the kubelet at an address that the claims name: through the tunnel of the node whose it is, or directly.
func (s *Server) Dial(ctx context.Context, network, target string, claims []Claim) (net.Conn, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, fmt.Errorf("connect to kubelet: %w", err)
	}
	node := owner(s.cfg.Node, host, claims, s.comesFrom)
	if node == "" || node == s.cfg.Node {
		return direct(ctx, network, target)
	}
	conn, err := s.through(ctx, node, target)
	if !errors.Is(err, errDead) {
		return conn, err
	}
	return s.either(ctx, node, network, target)
}

// through takes the node's newest tunnel that answers. errDead means that there is none.
func (s *Server) through(ctx context.Context, node, target string) (net.Conn, error) {
	sessions, _ := s.newest(node)
	for _, session := range sessions {
		conn, err := session.open(ctx, target)
		if !errors.Is(err, errDead) {
			return conn, err
		}
		s.cfg.Log.Debug("tunnel of a node was given up", "node", node, "error", err)
	}
	return nil, errDead
}

// expected tells whether a node without a tunnel may have one in a moment.
func (s *Server) expected(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.started) < fresh || time.Since(s.lost[node]) < fresh
}

// either connects directly or through the first tunnel that comes, whichever is first.
func (s *Server) either(ctx context.Context, node, network, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, await+directTimeout)
	defer cancel()
	expected := s.expected(node)
	wait := time.Duration(0)
	if expected {
		wait = headStart
	}
	start, giveUp := time.NewTimer(wait), time.NewTimer(await)
	defer start.Stop()
	defer giveUp.Stop()
	results := make(chan dialed, 1)
	var failure error
	running := false
	end := func(conn net.Conn, err error) (net.Conn, error) {
		if running {
			go discard(results)
		}
		return conn, err
	}
	for {
		sessions, arrived := s.newest(node)
		if len(sessions) > 0 {
			if conn, err := s.through(ctx, node, target); !errors.Is(err, errDead) {
				return end(conn, err)
			}
		}
		select {
		case <-arrived:
		case <-start.C:
			running = true
			go func() { conn, err := direct(ctx, network, target); results <- dialed{conn, err} }()
		case r := <-results:
			running = false
			if r.err == nil || !expected {
				return r.conn, r.err
			}
			failure = r.err
		case <-giveUp.C:
			if expected = false; failure != nil {
				return nil, fmt.Errorf("node %s has no tunnel to this API server: %w", node, failure)
			}
		case <-ctx.Done():
			return end(nil, fmt.Errorf("connect to kubelet of node %s: %w", node, ctx.Err()))
		}
	}
}

// dialed is the outcome of a direct connection.
type dialed struct {
	conn net.Conn
	err  error
}

// discard closes a connection that comes too late.
func discard(results <-chan dialed) {
	if r := <-results; r.err == nil {
		_ = r.conn.Close()
	}
}

func direct(ctx context.Context, network, target string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: directTimeout, KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, network, target)
	if err != nil {
		return nil, fmt.Errorf("connect to kubelet: %w", err)
	}
	return conn, nil
}
