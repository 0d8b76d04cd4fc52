package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// kubeletTimeout bounds the connection to the machine's own kubelet.
	kubeletTimeout = 2 * time.Second
	// chunk is how much is copied at a time.
	chunk = 32 << 10
)

// serve answers the API server's requests on a tunnel until one side ends it.
func (c *Client) serve(ctx context.Context, conn net.Conn) error {
	server := &http.Server{
		Protocols:         onlyHTTP2(),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams},
		Handler:           http.HandlerFunc(c.lead),
		ReadHeaderTimeout: connectTimeout,
		ErrorLog:          slog.NewLogLogger(c.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(&only{conn: conn, over: make(chan struct{})}); !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve tunnel: %w", err)
	}
	return errors.New("the tunnel ended")
}

// lead connects a request with the kubelet.
func (c *Client) lead(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT is served", http.StatusMethodNotAllowed)
		return
	}
	dialer := net.Dialer{Timeout: kubeletTimeout}
	kubelet, err := dialer.DialContext(r.Context(), "tcp", c.cfg.Kubelet)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = kubelet.Close() }()
	out := flushed{w, http.NewResponseController(w)}
	w.WriteHeader(http.StatusOK)
	if err := out.control.Flush(); err != nil {
		return
	}
	var up sync.WaitGroup
	defer up.Wait()
	defer func() { _ = r.Body.Close() }()
	up.Go(func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{kubelet}, r.Body, make([]byte, chunk))
		half, ok := kubelet.(interface{ CloseWrite() error })
		if err != nil || !ok || half.CloseWrite() != nil {
			_ = kubelet.Close() // ends the other direction too
		}
	})
	_, _ = io.CopyBuffer(out, struct{ io.Reader }{kubelet}, make([]byte, chunk)) // whoever ended it knows
}

// flushed sends everything at once: a log line or a key stroke must not wait for the next.
type flushed struct {
	w       io.Writer
	control *http.ResponseController
}

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err //nolint:wrapcheck // io.Copy's
}
