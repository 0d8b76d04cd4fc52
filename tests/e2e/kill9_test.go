package e2e

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	firstStartKills = 6  // during the first start, each on an empty disk
	laterKills      = 14 // with pods running
	killWindow      = 6 * time.Second
)

// TestKill9 kills the server at random moments. KEDGE_TEST_SEED repeats a run.
func TestKill9(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("KEDGE_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("KEDGE_TEST_SEED=%d", seed)
	moments := rand.New(rand.NewPCG(seed, 0))
	moment := func() time.Duration { return time.Duration(moments.Int64N(int64(killWindow))) }
	n := newNode(t)

	for i := range firstStartKills {
		at := moment()
		t.Logf("first start %d: killed after %s", i, at)
		n.start(t)
		n.crashAfter(t, at)
		// Every other time the same disk has to bear a second kill before it may start in peace.
		if i%2 == 1 {
			n.start(t)
			n.crashAfter(t, moment())
		}
		n.start(t)
		n.waitReady(t)
		if i < firstStartKills-1 {
			n.wipe(t)
		}
	}
	ns := n.settle(t)
	before := n.containers(t, ns)
	for i := range laterKills {
		at := moment()
		t.Logf("start %d with pods: killed after %s", i, at)
		n.crash(t)
		n.start(t)
		n.crashAfter(t, at)
		n.serves(t, before)
		n.start(t)
		if i%5 == 4 {
			n.waitReady(t)
			if after := n.containers(t, ns); !maps.Equal(before, after) {
				t.Fatalf("containers before\n%v\nand after\n%v", before, after)
			}
		}
	}
	n.waitReady(t)
	n.unchanged(t, ns, before)
}

// crashAfter lets the server run for a while and kills it; it must not have ended by itself.
func (n *node) crashAfter(t *testing.T, after time.Duration) {
	t.Helper()
	select {
	case <-n.server.Done():
		t.Fatalf("the server ended by itself:\n%s", lastLines(n.log(t), 30))
	case <-time.After(after):
	}
	n.crash(t)
}

// wipe gives the host an empty disk, by way of a power cut.
func (n *node) wipe(t *testing.T) {
	t.Helper()
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dataDir, "/var/lib/kubelet", "/var/lib/containerd", "/etc/kedge", "/var/log/pods", "/var/log/containers"} {
		entries, err := os.ReadDir(n.Path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(n.Path(dir), e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := n.Boot(); err != nil {
		t.Fatal(err)
	}
	n.install(t)
	n.putImage(t)
}
