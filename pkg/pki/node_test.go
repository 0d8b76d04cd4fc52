package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEnsureNode follows a node's certificates, issued by a cluster elsewhere, through starts, an address change and a renewal.
func TestEnsureNode(t *testing.T) {
	o := options(t)
	o.AgentDir = ""
	servers := ensure(t, o)
	now := noon
	var asked []string
	dir := filepath.Join(t.TempDir(), "agent", "tls")
	if _, err := LoadTrust(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("trust of a new machine: %v", err)
	}
	trust, err := LoadTrust(o.ServerDir)
	if err != nil || trust.Fingerprint() != servers.RootFingerprint() {
		t.Fatalf("trust of a server %v: %v", trust, err)
	}
	node := NodeOptions{
		Dir: dir, Leaves: NodeLeaves(params()), Trust: trust, Log: slog.New(slog.DiscardHandler), Clock: func() time.Time { return now },
		Issue: func(_ context.Context, l Leaf, key crypto.Signer) (*x509.Certificate, error) {
			asked = append(asked, l.Name)
			return servers.authorities[Kubernetes].issue(l, key.Public(), validity{from: now.Add(-5 * time.Minute), to: now.AddDate(1, 0, 0)})
		},
	}
	step := func(name string, want ...string) *Store {
		t.Helper()
		asked = nil
		s, err := EnsureNode(t.Context(), node)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("%s: asked for (-want +got):\n%s", name, diff)
		}
		return s
	}
	step("first start", KubeletClient, KubeletServer)
	var files []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	if diff := cmp.Diff([]string{"ca-bundle.crt", "kubelet-client.crt", "kubelet-client.key", "kubelet-server.crt", "kubelet-server.key", "kubelet.kubeconfig", "kubernetes-ca.crt"}, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if again, err := LoadTrust(dir); err != nil || again.Fingerprint() != trust.Fingerprint() {
		t.Errorf("trust after the start %v: %v", again, err)
	}
	step("second start")
	now = noon.Add(-10 * time.Minute)
	step("a clock that is behind the cluster's")
	now = noon
	node.Leaves = slices.Clone(node.Leaves)
	node.Leaves[1].IPs = []netip.Addr{netip.MustParseAddr("192.0.2.11")}
	s := step("another address", KubeletServer)

	key, err := os.ReadFile(s.KeyFile(KubeletClient))
	if err != nil {
		t.Fatal(err)
	}
	asked, now = nil, noon.AddDate(0, 9, 0)
	next, err := s.renewDue(t.Context())
	if err != nil || !slices.Equal(asked, []string{KubeletClient, KubeletServer}) || next.Before(now.AddDate(0, 7, 0)) {
		t.Errorf("renewal after nine months: asked for %v, next %s, error %v", asked, next, err)
	}
	if after, err := os.ReadFile(s.KeyFile(KubeletClient)); err != nil || string(after) != string(key) {
		t.Errorf("renewal changed the key, error %v", err)
	}
	infos, err := ListDir("", dir, now)
	if err != nil || len(infos) != 2 || infos[0].Problem != "" || infos[0].Authority != Kubernetes {
		t.Errorf("list %+v, error %v", infos, err)
	}
}

// TestEnsureNodeRefuses: what is not what was asked for is not written.
func TestEnsureNodeRefuses(t *testing.T) {
	ours, theirs := ensure(t, options(t)), ensure(t, options(t))
	trust := Trust{Kubernetes: ours.authorities[Kubernetes].cert, Root: ours.authorities[Root].cert}
	life := validity{from: noon, to: noon.AddDate(1, 0, 0)}
	for name, c := range map[string]struct {
		issue Issuer
		want  string
	}{
		"another authority": {func(_ context.Context, l Leaf, key crypto.Signer) (*x509.Certificate, error) {
			return theirs.authorities[Kubernetes].issue(l, key.Public(), life)
		}, "check certificate kubelet-client: it was issued by CN=kedge-kubernetes: x509: ECDSA verification failure"},
		"another name": {func(_ context.Context, l Leaf, key crypto.Signer) (*x509.Certificate, error) {
			l.CommonName = "system:node:other"
			return ours.authorities[Kubernetes].issue(l, key.Public(), life)
		}, "check certificate kubelet-client: it is not what was asked for: the subject has changed"},
		"refused": {func(context.Context, Leaf, crypto.Signer) (*x509.Certificate, error) { return nil, errors.New("no") }, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tls")
			_, err := EnsureNode(t.Context(), NodeOptions{Dir: dir, Leaves: NodeLeaves(params()), Trust: trust, Issue: c.issue,
				Log: slog.New(slog.DiscardHandler), Clock: func() time.Time { return noon }})
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("%d files were written, error %v", len(entries), err)
			}
		})
	}
}
