package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/pki"
)

// member is a configuration with real certificates and a free port.
func member(t *testing.T) Config {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	store, err := pki.Ensure(t.Context(), pki.Options{
		ServerDir: filepath.Join(dir, "tls"), Log: log,
		Leaves: pki.ServerLeaves(pki.Params{NodeName: "a", NodeIPs: loopback, ServiceIPs: loopback, ClusterDomain: "cluster.local", APIServer: "https://127.0.0.1:6443"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	tls := func(leaf string) TLS {
		return TLS{Cert: store.CertFile(leaf), Key: store.KeyFile(leaf), CA: store.CAFile(pki.Etcd)}
	}
	return Config{
		Name: "a", Dir: filepath.Join(dir, "db"), Socket: filepath.Join(dir, "etcd.sock"), Peer: listener.Addr().String(), Advertise: "https://" + listener.Addr().String(),
		Client: tls(pki.EtcdServer), Members: tls(pki.EtcdPeer), Log: log,
	}
}

// live runs the member until it is ready, and stops it.
func live(t *testing.T, c Config) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	return New(c).Run(ctx, cancel)
}

// TestDamage: whatever is wrong with the files is an error that says what to do, and the files stay as they are.
func TestDamage(t *testing.T) {
	c := member(t)
	for range 2 { // a first start and one that finds data
		if err := live(t, c); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := filepath.Glob(filepath.Join(c.Dir, "member", "wal", "*.wal"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("write-ahead logs %q, error %v", logs, err)
	}
	database := filepath.Join(c.Dir, "member", "snap", "db")
	garbage := func(b []byte) []byte { return bytes.Repeat([]byte("garbage "), len(b)/8) }
	for _, d := range []struct {
		name, file, says string
		damage           func([]byte) []byte
	}{
		{"database of garbage", database, "open database " + database + ": invalid database", garbage},
		{"shortened database", database, "open database " + database + ": ", func(b []byte) []byte { return b[:3*4096] }},
		{"database of a few bytes", database, "open database " + database + ": ", func(b []byte) []byte { return b[:100] }},
		{"log of garbage", logs[0], "read log " + logs[0] + ": its beginning is damaged: ", garbage},
		{"empty log", logs[0], "read log " + logs[0] + ": its beginning is damaged: EOF", func([]byte) []byte { return nil }},
	} {
		t.Run(d.name, func(t *testing.T) {
			good, err := os.ReadFile(d.file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, d.file, d.damage(good))
			defer write(t, d.file, good)
			before := tree(t, c.Dir)
			err = live(t, c)
			begin := "open etcd data directory " + c.Dir + ": " + d.says
			const end = "; nothing was changed: restore it from a snapshot or a copy, or move it away to begin with an empty cluster"
			if err == nil || !strings.HasPrefix(err.Error(), begin) || !strings.HasSuffix(err.Error(), end) {
				t.Errorf("error %v, want %s…%s", err, begin, end)
			}
			if diff := cmp.Diff(before, tree(t, c.Dir)); diff != "" {
				t.Errorf("files were changed (-before +after):\n%s", diff)
			}
		})
	}
	if err := live(t, c); err != nil {
		t.Errorf("start with the files restored: %v", err)
	}
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree returns the files of a directory with what is in them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = fmt.Sprintf("%x", sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
