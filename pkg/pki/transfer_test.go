package pki

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newAuthorities makes a cluster's authorities in a new directory.
func newAuthorities(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tls")
	d := disk{workers: 1}
	if err := d.createAuthorities(t.Context(), dir, DefaultLifetimes().from(time.Now(), time.Time{}, DefaultLifetimes().Authority)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTransfer(t *testing.T) {
	first := newAuthorities(t)
	files, err := Export(first)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(files))
	want := []string{
		"etcd-ca.crt", "etcd-ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "kubernetes-ca.crt", "kubernetes-ca.key",
		"root.crt", "service-account.key", "service-account.pub",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("exported (-want +got):\n%s", diff)
	}
	fingerprint, err := rootFingerprint(first)
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(t.TempDir(), "server", "tls")
	if err := Adopt(t.Context(), second, files, fingerprint); err != nil {
		t.Fatal(err)
	}
	if have, err := Have(second); err != nil || !have {
		t.Errorf("adopted: %v, %v", have, err)
	}
	again, err := Export(second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, again); diff != "" {
		t.Error("what was adopted is not what was exported")
	}
	if err := Adopt(t.Context(), second, files, fingerprint); err == nil || !strings.Contains(err.Error(), "holds some already; nothing was changed") {
		t.Errorf("second adoption: %v", err)
	}
}

// TestAdoptRefuses: nothing appears unless it is whole and of the right cluster.
func TestAdoptRefuses(t *testing.T) {
	first, other := newAuthorities(t), newAuthorities(t)
	files, err := Export(first)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := Export(other)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := rootFingerprint(first)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		pin    string
		want   string
	}{
		"another cluster": {func(map[string][]byte) {}, strings.Repeat("0", 64), "and not 0000"},
		"a mixture":       {func(m map[string][]byte) { m["etcd-ca.crt"] = foreign["etcd-ca.crt"] }, fingerprint, "a certificate that root.crt did not issue"},
		"a wrong key":     {func(m map[string][]byte) { m["etcd-ca.key"] = foreign["etcd-ca.key"] }, fingerprint, "a key that does not belong to etcd-ca.crt"},
		"an absent file":  {func(m map[string][]byte) { delete(m, "service-account.pub") }, fingerprint, "service-account.pub"},
		"a strange file":  {func(m map[string][]byte) { m["../x"] = nil }, fingerprint, `"../x" is not one of their files`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := maps.Clone(files)
			c.change(changed)
			dir := filepath.Join(t.TempDir(), "tls")
			if err := Adopt(t.Context(), dir, changed, c.pin); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("the directory is there: %v", err)
			}
		})
	}
}
