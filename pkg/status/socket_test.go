package status_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/status"
)

// serve runs the component on a socket until the test ends, and returns a function that ends it before.
func serve(t *testing.T, socket string, report *status.Report) (stop func() error) {
	t.Helper()
	component := status.Server(socket, func(context.Context) *status.Report { return report }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- component.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("component ended before it was ready: %v", err)
	}
	return func() error { cancel(); return <-done }
}

func TestSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "kedge.sock")
	want := &status.Report{Role: "server", PID: 42, Node: status.Node{Name: "a"}}
	stop := serve(t, socket, want)
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode of the socket is %o, want 600", got)
	}
	got, err := status.Fetch(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := status.Fetch(t.Context(), socket); !errors.Is(err, status.ErrNotRunning) {
		t.Errorf("fetch after the stop: %v, want %v", err, status.ErrNotRunning)
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	for _, socket := range []string{filepath.Join(dir, "missing.sock"), stale} {
		if _, err := status.Fetch(t.Context(), socket); !errors.Is(err, status.ErrNotRunning) {
			t.Errorf("fetch %s: %v, want %v", filepath.Base(socket), err, status.ErrNotRunning)
		}
	}
	// What a killed process left is replaced.
	serve(t, stale, &status.Report{})
	if _, err := status.Fetch(t.Context(), stale); err != nil {
		t.Error(err)
	}
}

func TestServerErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 120))
	for socket, want := range map[string]string{
		filepath.Join(file, "kedge.sock"): "create directory of the socket: mkdir " + file + ": not a directory",
		long:                              "listen on " + long + ": listen unix " + long + ": bind: invalid argument",
	} {
		err := status.Server(socket, nil, slog.New(slog.DiscardHandler)).Run(t.Context(), func() { t.Error("ready") })
		if err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
}
