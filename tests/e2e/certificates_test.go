package e2e

import (
	"strings"
	"testing"
	"time"
)

// testCertificates reads the list of certificates; their renewal is tested beside the code, and with an agent that runs, in
// TestJoin.
func testCertificates(t *testing.T, n *node) {
	r := n.kedge(t, "certificate", "list")
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	expires := map[string]time.Time{}
	for line := range strings.Lines(r.Stdout) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] == "NAME" {
			continue
		}
		for i := 0; i+1 < len(f); i++ {
			if at, err := time.Parse("2006-01-02 15:04", f[i]+" "+strings.TrimSuffix(f[i+1], "Z")); err == nil {
				expires[f[0]] = at
				break
			}
		}
		if !strings.Contains(line, " ok ") {
			t.Errorf("not well: %s", line)
		}
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		name     string
		from, to time.Duration
	}{
		{"root", 19 * 365 * day, 21 * 365 * day},
		{"kubernetes-ca", 19 * 365 * day, 21 * 365 * day},
		{"apiserver", 360 * day, 367 * day},
		{"etcd-server", 360 * day, 367 * day},
		{"kubelet-client", 360 * day, 367 * day},
		{"kubelet-server", 360 * day, 367 * day},
		{"admin", 360 * day, 367 * day},
	} {
		if life := time.Until(expires[c.name]); life < c.from || life > c.to {
			t.Errorf("%s lives %s more, want %s to %s", c.name, life, c.from, c.to)
		}
	}
	if t.Failed() {
		t.Log(r.Stdout)
	}
}
