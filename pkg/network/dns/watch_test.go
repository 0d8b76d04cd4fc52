package dns_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/network/dns"
)

// limit bounds each wait; it is only reached when the test fails.
const limit = 20 * time.Second

// watched runs the component on a file. expect waits for a Corefile with the given forwarders.
func watched(t *testing.T, file string) (expect func(servers ...string)) {
	t.Helper()
	c := dns.Config{Addresses: addresses("10.43.0.10"), Domain: "cluster.local", Kubeconfig: "k", ResolvConf: file}
	corefiles := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- c.Watch(corefiles, slog.New(slog.DiscardHandler)).Run(ctx, func() { close(ready) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return func(servers ...string) {
		t.Helper()
		var upstreams []netip.AddrPort
		for _, s := range servers {
			upstreams = append(upstreams, netip.MustParseAddrPort(s+":53"))
		}
		want, got := c.Corefile(upstreams), ""
		timeout := time.After(limit)
		for got != want { // a file that is truncated and then written may be seen between
			select {
			case got = <-corefiles:
			case <-timeout:
				t.Fatalf("no such Corefile within %s (-want +last):\n%s", limit, cmp.Diff(want, got))
			}
		}
		select {
		case <-ready:
		case <-timeout:
			t.Fatal("not ready after the first Corefile")
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWatchFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "resolv.conf")
	write(t, file, "nameserver 192.0.2.1\n")
	expect := watched(t, file)
	expect("192.0.2.1")
	write(t, file, "nameserver 192.0.2.2\n")
	expect("192.0.2.2")

	next := filepath.Join(dir, "resolv.conf.new")
	write(t, next, "nameserver 192.0.2.3\n")
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	expect("192.0.2.3")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect()
	write(t, file, "nameserver 192.0.2.4\n")
	expect("192.0.2.4")
}

// TestWatchLink is a host whose resolver makes the file, and the directory it is in, after the start.
func TestWatchLink(t *testing.T) {
	dir := t.TempDir()
	file, target := filepath.Join(dir, "etc", "resolv.conf"), filepath.Join(dir, "run", "resolve", "servers")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../run/resolve/servers", file); err != nil {
		t.Fatal(err)
	}
	expect := watched(t, file)
	expect()
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, target, "nameserver 192.0.2.1\n")
	expect("192.0.2.1")
	write(t, target, "nameserver 192.0.2.2\n")
	expect("192.0.2.2")
}

// TestWatchMissing is a host without resolvers.
func TestWatchMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etc", "resolv.conf")
	expect := watched(t, file)
	expect()
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, "nameserver 192.0.2.1\n")
	expect("192.0.2.1")
}
