package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kedge/tests/host"
	"kedge/tests/image"
)

const (
	firstStartKills = 6               // during the first start, each on an empty disk
	laterKills      = 14              // with pods running
	births          = 3               // killed as soon as the datastore has a log
	killWindow      = 4 * time.Second // twice the time that a start takes
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
	links := n.podLinks(t)
	n.apply(t, n.namespace(t, "churn"), strings.ReplaceAll(churn, "IMAGE", image.Name))
	for i := range laterKills {
		at := moment()
		t.Logf("start %d with pods: killed after %s", i, at)
		n.crash(t)
		n.start(t)
		n.scaleChurn(t, moments.IntN(4))
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
	n.kubectl(t, "scale", "-n", "churn", "deployment/churn", "--replicas=0")
	host.Eventually(t, podLimit, "what came and went between the kills is gone", func() error {
		if got := n.podLinks(t); got != links {
			return fmt.Errorf("%d links of pods, want %d: %s", got, links, n.kubectl(t, "get", "pods", "-A"))
		}
		return nil
	})
}

const churn = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: churn}
spec:
  replicas: 1
  selector: {matchLabels: {app: churn}}
  template: {metadata: {labels: {app: churn}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [probe, serve]}]}}
`

// scaleChurn changes the number of pods as soon as the server allows it, and does not wait.
func (n *node) scaleChurn(t *testing.T, replicas int) {
	t.Helper()
	scale := fmt.Sprintf("for i in 1 2 3 4 5 6 7 8 9 10; do %s kubectl scale -n churn deployment/churn --replicas=%d && exit; sleep 0.3; done", kedge, replicas)
	if _, err := n.Start(host.Spec{Args: []string{"sh", "-c", scale}}); err != nil {
		t.Fatal(err)
	}
}

// podLinks counts the host's ends of pods' links.
func (n *node) podLinks(t testing.TB) int {
	t.Helper()
	return len(strings.Fields(n.Must(t, "sh", "-c", "ls /sys/class/net | grep -vx -e lo -e eth0; true")))
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

// TestKilledAtBirth kills the server at its first start as soon as the datastore's log is there: few of the moments of TestKill9
// fall between that and the log's first entry.
func TestKilledAtBirth(t *testing.T) {
	n := newNode(t)
	for range births {
		n.start(t)
		n.crashAtBirth(t)
		n.start(t)
		n.waitReady(t)
		n.wipe(t)
	}
	if hits := strings.Count(n.log(t), "it begins anew"); hits == 0 {
		t.Errorf("none of %d kills came before the log's first entry", births)
	}
}

// TestJoiningKilledAtBirth is TestKilledAtBirth for a server that joins another.
func TestJoiningKilledAtBirth(t *testing.T) {
	c := &trio{nodes: newNodes(t, 2)}
	first, second := c.nodes[0], c.nodes[1]
	first.start(t)
	first.waitReady(t)
	join := []string{"--server", first.url(), "--token", first.serverToken(t)}
	second.start(t, join...)
	second.crashAtBirth(t)
	second.start(t, join...)
	second.waitReady(t)
	if !strings.Contains(second.log(t), "it begins anew") {
		t.Error("the kill did not come before the log's first entry")
	}
	c.settled(t, first, first.Name, second.Name)
	second.kubectl(t, "create", "configmap", "written")
	first.kubectl(t, "get", "configmap", "written")
}

// crashAtBirth kills a server as soon as its datastore has a log.
func (n *node) crashAtBirth(t *testing.T) {
	t.Helper()
	log := n.Path(dataDir + "/server/db/etcd/member/wal")
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		if _, err := os.Stat(log); err == nil {
			break
		}
		if err := n.alive(); err != nil || time.Since(begin) > startLimit {
			t.Fatalf("there is no log after %s: %v", time.Since(begin), err)
		}
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
