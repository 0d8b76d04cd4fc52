package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files") //nolint:gochecknoglobals // a flag of the tests

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // never changed

func params() Params {
	return Params{
		NodeName:      "node-1",
		NodeIPs:       []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")},
		ServiceIPs:    []netip.Addr{netip.MustParseAddr("10.43.0.1"), netip.MustParseAddr("fd00:43::1")},
		ClusterDomain: "cluster.local",
		TLSSANs:       []string{"kedge.example.com", "198.51.100.7", "localhost"},
		APIServer:     "https://127.0.0.1:6443",
	}
}

// options are those of a fresh data directory at noon.
func options(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	return Options{
		ServerDir: filepath.Join(dir, "server", "tls"),
		AgentDir:  filepath.Join(dir, "agent", "tls"),
		Leaves:    ServerLeaves(params()),
		Log:       slog.New(slog.DiscardHandler),
		Clock:     func() time.Time { return noon },
	}
}

func ensure(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Ensure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// logTo makes o write its log, without times, to the returned buffer.
func logTo(o *Options) *bytes.Buffer {
	var buf bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return &buf
}

// tree returns every file below the data directory of o with its content.
func tree(t *testing.T, o Options) map[string]string {
	t.Helper()
	root, files := dataDir(o), map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, root+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func dataDir(o Options) string { return filepath.Dir(filepath.Dir(o.ServerDir)) }

// hide replaces the data directory in text, so that it can be compared.
func hide(o Options, text string) string { return strings.ReplaceAll(text, dataDir(o), "DATA") }

func equal(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, string(want))
}

// leafOf reads a leaf.
func leafOf(t *testing.T, s *Store, name string) *x509.Certificate {
	t.Helper()
	certs, err := readCertificates(s.CertFile(name))
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}

// healthy checks that a store is complete: all pairs load, all are listed without a problem, nothing else lies around.
func healthy(t *testing.T, s *Store) {
	t.Helper()
	for _, l := range s.leaves {
		if _, err := tls.LoadX509KeyPair(s.CertFile(l.Name), s.KeyFile(l.Name)); err != nil {
			t.Error(err)
		}
	}
	infos, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	if want := len(s.leaves) + 4; len(infos) != want {
		t.Errorf("%d certificates listed, want %d", len(infos), want)
	}
	for _, i := range infos {
		if i.Problem != "" {
			t.Errorf("%s: %s", i.Name, i.Problem)
		}
	}
	for _, dir := range append(s.dirs(), filepath.Dir(s.serverDir)) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".tmp") || strings.HasSuffix(e.Name(), ".new") {
				t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
			}
		}
	}
}
