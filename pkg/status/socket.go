package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"kedge/pkg/lifecycle"
)

// ErrNotRunning is returned by Fetch when no process listens on the socket.
var ErrNotRunning = errors.New("kedge is not running")

// requestTimeout bounds both sides of one question.
const requestTimeout = 10 * time.Second

// Server returns a component that answers on a Unix socket (0600): GET /status with the report as JSON, and
// Go's profiles below /debug/pprof/.
func Server(socket string, report func(context.Context) *Report, log *slog.Logger) lifecycle.Component {
	return lifecycle.Func("status", func(ctx context.Context, ready func()) error {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /status", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(report(req.Context())); err != nil {
				log.Debug("status could not be sent", "error", err)
			}
		})
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		return serve(ctx, socket, mux, ready)
	})
}

func serve(ctx context.Context, socket string, handler http.Handler, ready func()) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return fmt.Errorf("create directory of the socket: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(fmt.Errorf("restrict %s: %w", socket, err), listener.Close())
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: requestTimeout}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	ready()
	select {
	case <-ctx.Done():
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		if err != nil {
			return fmt.Errorf("close %s: %w", socket, err)
		}
		return nil
	case err := <-done:
		return fmt.Errorf("serve %s: %w", socket, err)
	}
}

// Fetch asks the running process for its report.
func Fetch(ctx context.Context, socket string) (*Report, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://kedge/status", nil)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	resp, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	defer resp.Body.Close() // read only
	var report Report
	if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", socket, err)
	}
	return &report, nil
}
