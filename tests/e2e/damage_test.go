package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kedge/tests/host"
)

// TestDiskFillsUp fills the disk of a running server. It may end, with a word on why; what it had acknowledged is
// there when the disk has room again.
func TestDiskFillsUp(t *testing.T) {
	n := newNode(t)
	n.image = false // covered by the disk
	n.Must(t, "mount", "-t", "tmpfs", "-o", "size=600m", "small", dataDir)
	n.start(t)
	n.waitReady(t)
	acknowledged := []string{"precious"}
	n.kubectl(t, "create", "configmap", "precious", "--from-literal=a=b")
	n.Must(t, "sh", "-c", "dd if=/dev/zero of="+dataDir+"/ballast bs=1M 2>/dev/null; true")
	big := filepath.Join(n.Home(), "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("0123456789abcdef", 900<<10/16)), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := 0; n.alive() == nil; i++ {
		if i == 200 {
			t.Fatal("200 writes of 900 kB were accepted by a full disk")
		}
		name := fmt.Sprintf("ballast-%d", i)
		if r := n.tryKubectl(t, "", "create", "configmap", name, "--from-file="+big, "--request-timeout=10s"); r.Code != 0 {
			break
		}
		acknowledged = append(acknowledged, name)
	}
	n.waitLog(t, podLimit, "no space left on device")
	n.Must(t, "rm", dataDir+"/ballast")
	select {
	case <-n.server.Done():
		if code, err := n.server.Wait(t.Context()); err != nil || code != 1 && code != 2 {
			t.Errorf("exit status %d, %v", code, err)
		}
	default:
		n.terminate(t)
	}
	n.start(t)
	n.waitReady(t)
	for _, name := range acknowledged {
		n.kubectl(t, "get", "configmap", name, "-o", "name")
	}
	t.Logf("%d objects were acknowledged and are there", len(acknowledged))
}

// TestDamage breaks, one by one, what a stopped server needs, and expects to be told which file it is.
func TestDamage(t *testing.T) {
	n := boot(t)
	if code, _ := n.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	for _, c := range []struct {
		name, file string
		damage     func([]byte) []byte
		words      []string
	}{
		{"authority's certificate", "server/tls/kubernetes-ca.crt", half, []string{`kubernetes-ca\.crt`}},
		{"authority's key", "server/tls/etcd-ca.key", garbage, []string{`etcd-ca\.key`}},
		{"missing authority", "server/tls/front-proxy-ca.crt", nil, []string{`front-proxy-ca\.crt`}},
		{"service account key", "server/tls/service-account.key", garbage, []string{`service-account\.key`}},
		{"etcd's database", "server/db/etcd/member/snap/db", garbage, []string{"db/etcd"}},
		{"etcd's log", walFile(t, n), garbage, []string{"db/etcd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(n.Path(dataDir), c.file)
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if c.damage == nil {
				err = os.Remove(file)
			} else {
				err = os.WriteFile(file, c.damage(good), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			code, said := n.failing(t, host.Spec{Args: []string{"server"}})
			expectError(t, code, said, 1, c.words...)
			if err := os.WriteFile(file, good, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("leaf", func(t *testing.T) {
		file := filepath.Join(n.Path(dataDir), "server/tls/apiserver.crt")
		if err := os.WriteFile(file, []byte("gone bad\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		n.start(t)
		n.waitReady(t)
		if !strings.Contains(n.log(t), "apiserver.crt") {
			t.Error("a damaged leaf was replaced without a word")
		}
	})
}

func half(b []byte) []byte { return b[:len(b)/2] }

func garbage(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range out {
		out[i] = byte(i * 37)
	}
	return out
}

// walFile is the name, below the data directory, of etcd's first write-ahead log.
func walFile(t *testing.T, n *node) string {
	t.Helper()
	found, err := filepath.Glob(n.Path(dataDir + "/server/db/etcd/member/wal/*.wal"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no log of etcd: %v", err)
	}
	rel, err := filepath.Rel(n.Path(dataDir), found[0])
	if err != nil {
		t.Fatal(err)
	}
	return rel
}
