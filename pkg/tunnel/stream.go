package tunnel

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// stream is one connection through a tunnel: a CONNECT request's body one way, the response's body the other.
// Reads and writes may run beside each other, as with every net.Conn. A deadline that passes ends the connection.
type stream struct {
	in     io.ReadCloser
	out    *io.PipeWriter
	cancel context.CancelFunc // ends the request
	remote address

	expired     atomic.Bool
	once        sync.Once
	mu          sync.Mutex
	read, write *time.Timer
}

// address is where a stream leads, for logs.
type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	return n, s.explain(err)
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	return n, s.explain(err)
}

// explain says that a deadline was the reason.
func (s *stream) explain(err error) error {
	if err != nil && s.expired.Load() {
		return os.ErrDeadlineExceeded
	}
	return err
}

func (s *stream) Close() error {
	s.once.Do(func() {
		_ = s.SetDeadline(time.Time{}) // never fails
		_ = s.out.CloseWithError(net.ErrClosed)
		s.cancel()
		_ = s.in.Close()
	})
	return nil
}

func (s *stream) LocalAddr() net.Addr  { return address("tunnel") }
func (s *stream) RemoteAddr() net.Addr { return s.remote }

func (s *stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *stream) SetReadDeadline(t time.Time) error  { s.arm(&s.read, t); return nil }
func (s *stream) SetWriteDeadline(t time.Time) error { s.arm(&s.write, t); return nil }

func (s *stream) arm(timer **time.Timer, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	if !t.IsZero() {
		*timer = time.AfterFunc(time.Until(t), func() { s.expired.Store(true); _ = s.Close() })
	}
}
