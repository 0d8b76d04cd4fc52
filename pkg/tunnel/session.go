package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// answerTimeout is how long a node may take to connect to its own kubelet. A tunnel from which nothing at all has come for as long is
// given up; one that is busy may take patience times as long.
const (
	answerTimeout = 4 * time.Second
	patience      = 4
)

// errDead is the reason to try something else than a tunnel.
var errDead = errors.New("the tunnel does not answer")

// session is the API server's end of one tunnel.
type session struct {
	node  string
	from  netip.Addr // where the tunnel comes from, as far as the API server sees
	conn  *heard
	http  *http.ClientConn
	close func() // may be called repeatedly

	expiry *time.Timer // guarded by the server's mutex
}

// heard notes when something was last received.
type heard struct {
	net.Conn
	last atomic.Int64 // Unix time, nanoseconds
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.last.Store(time.Now().UnixNano())
	return n, err
}

func (h *heard) silentFor() time.Duration { return time.Since(time.Unix(0, h.last.Load())) }

// newSession takes over an upgraded connection. ended is called once when it is over.
func newSession(ctx context.Context, conn net.Conn, node string, ended func(*session)) (*session, error) {
	h := &heard{Conn: conn}
	h.last.Store(time.Now().UnixNano())
	transport := &http.Transport{
		Protocols:          onlyHTTP2(),
		DisableCompression: true,
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return h, nil },
	}
	client, err := transport.NewClientConn(ctx, "http", "kubelet:80")
	if err != nil {
		return nil, fmt.Errorf("start HTTP/2: %w", err)
	}
	s := &session{node: node, conn: h, http: client}
	if remote, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		s.from = remote.Addr().Unmap()
	}
	over := atomic.Bool{}
	finish := func() {
		if !over.Swap(true) {
			ended(s)
		}
	}
	s.close = func() { _ = client.Close(); finish() }
	client.SetStateHook(func(c *http.ClientConn) {
		if c.Err() != nil {
			finish()
		}
	})
	return s, nil
}

// open connects to the node's kubelet. errDead means that the tunnel was given up.
func (s *session) open(ctx context.Context, target string) (net.Conn, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the dial's context ends with the dial
	in, out := io.Pipe()
	req, err := http.NewRequestWithContext(life, http.MethodConnect, "http://kubelet", in)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("make request: %w", err)
	}
	type answer struct {
		*http.Response
		err error
	}
	answers := make(chan answer, 1)
	go func() { r, err := s.http.RoundTrip(req); answers <- answer{r, err} }()
	abandon := func(reason error) (net.Conn, error) {
		cancel()
		go func() { // the answer may come all the same
			if a := <-answers; a.err == nil {
				_ = a.Body.Close()
			}
		}()
		return nil, reason
	}
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for begin := time.Now(); ; {
		select {
		case a := <-answers:
			if a.err != nil {
				cancel()
				s.close()
				return nil, fmt.Errorf("%w: %w", errDead, a.err)
			}
			return s.connected(a.Response, out, cancel, target)
		case <-ctx.Done():
			return abandon(fmt.Errorf("wait for kubelet of node %s: %w", s.node, ctx.Err()))
		case <-timer.C:
			if s.conn.silentFor() >= answerTimeout || time.Since(begin) >= patience*answerTimeout {
				s.close()
				return abandon(fmt.Errorf("%w: nothing came for %s", errDead, time.Since(begin).Round(time.Second)))
			}
			timer.Reset(answerTimeout)
		}
	}
}

// connected makes a connection of the node's answer.
func (s *session) connected(r *http.Response, out *io.PipeWriter, cancel context.CancelFunc, target string) (net.Conn, error) {
	if r.StatusCode == http.StatusOK {
		return &stream{in: r.Body, out: out, cancel: cancel, remote: address(target)}, nil
	}
	text, _ := io.ReadAll(io.LimitReader(r.Body, 1024)) // what came of it
	_ = r.Body.Close()
	cancel()
	return nil, fmt.Errorf("connect to kubelet of node %s through its tunnel: %s: %s", s.node, r.Status, strings.TrimSpace(string(text)))
}
