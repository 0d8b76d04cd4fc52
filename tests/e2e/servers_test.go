package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"kedge/tests/host"
)

// trio is a cluster of servers, and who writes to it all along.
type trio struct {
	nodes []*node
	check *checker
	webs  map[string]string // the address of a pod on each node
}

// webSet is a pod on each node.
const webSet = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: kedge.local/test:1, command: [probe, serve]}]}}
`

// serverToken makes a token with which a server joins.
func (n *node) serverToken(t testing.TB) string {
	t.Helper()
	return n.token(t, "--role", "server")
}

// members asks a server who its members are.
func (n *node) members(t testing.TB) (map[string]string, error) {
	t.Helper()
	r := n.kedge(t, "etcd", "member", "list")
	if err := r.Check(); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(r.Stdout) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] != "NAME" {
			all[f[0]] = f[2]
		}
	}
	return all, nil
}

// settled waits until the servers are voters, all of them, and one leads.
func (c *trio) settled(t *testing.T, asked *node, names ...string) (leader *node) {
	t.Helper()
	host.Eventually(t, startLimit, "members settled", func() error {
		all, err := asked.members(t)
		if err != nil {
			return err
		}
		leader = nil
		for _, name := range names {
			switch all[name] {
			case "leader":
				leader = c.named(name)
			case "voter":
			default:
				return fmt.Errorf("%s is %q; members %v", name, all[name], all)
			}
		}
		if leader == nil || len(all) != len(names) {
			return fmt.Errorf("members %v", all)
		}
		return nil
	})
	return leader
}

func (c *trio) named(name string) *node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// others returns the servers but one.
func (c *trio) others(but *node) (all []*node) {
	for _, n := range c.nodes {
		if n != but {
			all = append(all, n)
		}
	}
	return all
}

// TestServers: a cluster of three servers goes through everything that may happen to one of them, while somebody writes.
func TestServers(t *testing.T) {
	c := &trio{nodes: newNodes(t, 3)}
	first := c.nodes[0]
	first.start(t)
	first.waitReady(t)
	join := []string{"--server", first.url(), "--token", first.serverToken(t)}
	for _, n := range c.nodes[1:] {
		n.start(t, join...)
	}
	for _, n := range c.nodes[1:] {
		n.waitReady(t)
	}
	c.settled(t, first, "host1", "host2", "host3")
	c.check = startChecker(t, c.nodes)
	for _, s := range []struct {
		name string
		test func(*testing.T, *trio)
	}{
		{"joined", testJoined},
		{"rolling restart", testRollingRestart},
		{"CSI after an election", testElectedCSI},
		{"kill -9 of the leader", testLeaderKilled},
		{"power cut of the first", func(t *testing.T, c *trio) { testPowerLost(t, c, c.nodes[0]) }},
		{"power cut of the leader", func(t *testing.T, c *trio) { testPowerLost(t, c, c.settled(t, c.nodes[0], "host1", "host2", "host3")) }},
		{"cable of the leader", testCableLost},
		{"disk of the first", testDiskLost},
		{"deleted node", testNodeDeleted},
		{"lost quorum", testQuorumLost},
		{"lost lease", testLeaseLost},
	} {
		if !t.Run(s.name, func(t *testing.T) { s.test(t, c) }) {
			t.FailNow() // the cluster is not in the state that the next one expects
		}
	}
}

func testJoined(t *testing.T, c *trio) {
	c.nodes[0].apply(t, "default", webSet)
	c.findWebs(t)
	c.serve(t, c.nodes...)
	for _, n := range c.nodes {
		got := n.kubectl(t, "get", "nodes", "-o", "name")
		if got != "node/host1\nnode/host2\nnode/host3" {
			t.Errorf("nodes as seen on %s: %q", n.Name, got)
		}
		if r := n.kedge(t, "status"); r.Code != 0 || !strings.Contains(r.Stdout, "members host1") {
			t.Errorf("status of %s: %+v", n.Name, r)
		}
	}
	if got := c.nodes[2].kubectl(t, "get", "endpointslice", "kubernetes", "-o", "jsonpath={.endpoints[*].addresses[*]}"); len(strings.Fields(got)) != 3 {
		t.Errorf("addresses of the kubernetes service: %q", got)
	}
	// Whoever has no certificate of the etcd authority gets nothing from the port, and agents' tokens open no bundle.
	if body := ask(t, c.nodes[1], "https://"+c.nodes[0].IP().String()+":2380/members"); body != "" {
		t.Errorf("the datastore answers without a certificate: %q", body)
	}
}

// testRollingRestart: a stop hands everything over first, so that no request fails that reaches a server that serves.
func testRollingRestart(t *testing.T, c *trio) {
	c.check.watch()
	for _, n := range c.nodes {
		if code, _ := n.terminate(t); code != 0 {
			t.Errorf("%s ended with status %d", n.Name, code)
		}
		n.start(t)
		n.waitReady(t)
	}
	gap, failed := c.check.seen()
	t.Logf("longest gap %s", gap)
	if len(failed) > 0 || gap > 3*time.Second {
		t.Errorf("longest gap %s, failed writes %v", gap, failed)
	}
}

// testElectedCSI registers a driver on the server that runs the controllers, which has built them later than its kubelet started.
func testElectedCSI(t *testing.T, c *trio) {
	n := c.leads(t, "host1", "host2", "host3")
	n.waitLog(t, startLimit, "this server leads")
	testCSI(t, n)
}

// leads waits until one of the named servers holds the controllers' lease.
func (c *trio) leads(t *testing.T, names ...string) (n *node) {
	t.Helper()
	host.Eventually(t, startLimit, "controllers led", func() error {
		var l coordinationv1.Lease
		if err := c.nodes[0].mustClient(t).get(t.Context(), "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kedge-controllers", &l); err != nil {
			return err
		}
		if l.Spec.HolderIdentity == nil || !slices.Contains(names, *l.Spec.HolderIdentity) || time.Since(l.Spec.RenewTime.Time) > 5*time.Second {
			return fmt.Errorf("lease %+v", l.Spec)
		}
		n = c.named(*l.Spec.HolderIdentity)
		return nil
	})
	return n
}

// findWebs waits until the pods of all nodes are ready. They have other addresses after a power cut.
func (c *trio) findWebs(t *testing.T) {
	t.Helper()
	c.webs = map[string]string{}
	host.Eventually(t, startLimit, "a pod on each node", func() error {
		var pods corev1.PodList
		if err := c.nodes[1].mustClient(t).get(t.Context(), "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb", &pods); err != nil {
			return err
		}
		for _, p := range pods.Items {
			if err := podReady(&p); err != nil {
				return fmt.Errorf("%s on %s: %w", p.Name, p.Spec.NodeName, err)
			}
			if _, err := dialFrom(t.Context(), c.named(p.Spec.NodeName).Dial, "tcp", p.Status.PodIP+":8080", "hostname"); err != nil {
				return fmt.Errorf("%s on %s: %w", p.Name, p.Spec.NodeName, err) // ready before a power cut
			}
			c.webs[p.Spec.NodeName] = p.Status.PodIP
		}
		if len(c.webs) != len(c.nodes) {
			return fmt.Errorf("pods on %v", c.webs)
		}
		return nil
	})
}

// serve expects that the pods of nodes answer.
func (c *trio) serve(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		if got, err := dialFrom(t.Context(), n.Dial, "tcp", c.webs[n.Name]+":8080", "hostname"); err != nil || !strings.HasPrefix(got, "web-") {
			t.Errorf("the pod of %s answers %q, %v", n.Name, got, err)
		}
	}
}

// interrupted expects that writes go on within five seconds after something happened to a server, and that workloads go on.
func (c *trio) interrupted(t *testing.T, victim *node, what func()) {
	t.Helper()
	c.findWebs(t)
	c.check.watch()
	what()
	c.serve(t, c.others(victim)...)
	c.check.advance(t, 5)
	if gap, _ := c.check.seen(); gap > 5*time.Second {
		t.Errorf("no write for %s", gap)
	} else {
		t.Logf("longest gap %s", gap)
	}
}

func testLeaderKilled(t *testing.T, c *trio) {
	leader := c.settled(t, c.nodes[0], "host1", "host2", "host3")
	c.interrupted(t, leader, func() { leader.crash(t) })
	c.serve(t, leader)
	leader.start(t)
	leader.waitReady(t)
}

// testPowerLost: unlike one that is killed, a machine without power says nothing to those that were connected to it.
func testPowerLost(t *testing.T, c *trio, victim *node) {
	c.settled(t, c.others(victim)[0], "host1", "host2", "host3")
	c.interrupted(t, victim, func() {
		if err := victim.Kill(); err != nil {
			t.Fatal(err)
		}
	})
	c.bootAgain(t, victim)
	victim.start(t)
	victim.waitReady(t)
}

func (c *trio) bootAgain(t *testing.T, n *node) {
	t.Helper()
	if err := n.Boot(); err != nil {
		t.Fatal(err)
	}
	n.install(t)
}

func testCableLost(t *testing.T, c *trio) {
	leader := c.settled(t, c.nodes[0], "host1", "host2", "host3")
	c.interrupted(t, leader, func() {
		if err := leader.Cut(); err != nil {
			t.Fatal(err)
		}
	})
	if err := leader.Mend(); err != nil {
		t.Fatal(err)
	}
	host.Eventually(t, startLimit, "the server is back", func() error { return leader.isReady(t.Context()) })
}

// testDiskLost: the first server loses its disk and joins the others as a new one under its old name.
func testDiskLost(t *testing.T, c *trio) {
	first, second := c.nodes[0], c.nodes[1]
	c.settled(t, second, "host1", "host2", "host3")
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dataDir, "/var/lib/kubelet", "/etc/kedge"} {
		empty(t, first.Path(dir))
	}
	c.bootAgain(t, first)
	first.putImage(t)
	first.start(t, "--server", second.url(), "--token", second.serverToken(t))
	first.waitReady(t)
	c.settled(t, first, "host1", "host2", "host3")
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// testNodeDeleted: the member of a server that is gone goes with its Node.
func testNodeDeleted(t *testing.T, c *trio) {
	first, third := c.nodes[0], c.nodes[2]
	if err := third.Kill(); err != nil {
		t.Fatal(err)
	}
	c.check.advance(t, 3)
	first.kubectl(t, "delete", "node", "host3")
	c.settled(t, first, "host1", "host2")
}

// testQuorumLost: of two members one is lost; everybody is told, and the other mends it with the data it has.
func testQuorumLost(t *testing.T, c *trio) {
	first, second := c.nodes[0], c.nodes[1]
	c.check.stop(t)
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	const lost = "the datastore has lost its quorum: 1 of 2 servers can be reached (host1, not host2) and 2 are needed"
	first.waitLog(t, time.Minute, "lost its quorum")
	if r := first.kedge(t, "status"); r.Code != 1 || !strings.Contains(r.Stdout, lost) {
		t.Errorf("status: %+v", r)
	}
	if r := first.tryKubectl(t, "", "create", "namespace", "too-late"); r.Code == 0 || !strings.Contains(r.Stderr, lost) {
		t.Errorf("kubectl: %+v", r)
	}
	if code, took := first.terminate(t); code != 0 || took > 30*time.Second {
		t.Errorf("stop without quorum: status %d after %s", code, took)
	}
	r := first.kedge(t, "server", "--cluster-reset")
	if r.Code != 0 || !strings.Contains(r.Stderr, "the only one of its cluster") {
		t.Fatalf("reset: %+v", r)
	}
	first.start(t)
	first.waitReady(t)
	c.settled(t, first, "host1")
	c.check.verify(t, first)
	// Until the cluster has missed it, the dead server's node is as good as any to the scheduler: the next test's pod would wait there.
	first.kubectl(t, "delete", "node", "host2")
}

// testLeaseLost: controllers that lose their lease stop, and are started again in the same process.
func testLeaseLost(t *testing.T, c *trio) {
	n := c.leads(t, "host1")
	started := strings.Count(n.log(t), "kedge server starts")
	n.kubectl(t, "patch", "lease", "-n", "kube-system", "kedge-controllers", "--type=merge", "-p",
		`{"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 11, "renewTime": "`+time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")+`"}}`)
	n.waitLog(t, time.Minute, "the lease was lost")
	n.waitLog(t, time.Minute, "(?s)the lease was lost.*this server leads")
	n.kubectl(t, "create", "namespace", "again")
	host.Eventually(t, startLimit, "the controllers work again", func() error {
		return n.mustClient(t).get(t.Context(), "/api/v1/namespaces/again/serviceaccounts/default", nil)
	})
	n.runOnce(t, "again", "scheduled", "true")
	if now := strings.Count(n.log(t), "kedge server starts"); now != started {
		t.Errorf("the server was started %d times meanwhile", now-started)
	}
	if err := n.alive(); err != nil {
		t.Error(err)
	}
}
