package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kedge/tests/host"
)

// TestJoin: five machines join one server at once, and what may and may not be done with tokens, names and certificates.
func TestJoin(t *testing.T) {
	nodes := newNodes(t, 7)
	server, agents, stranger := nodes[0], nodes[1:6], nodes[6]
	server.start(t)
	server.waitReady(t)
	token := server.token(t, "--description", "five at once")
	if code, _ := server.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	// The machines wait for a server that is not there, and then come all at once.
	for i, n := range agents {
		n.join(t, server, token, joinArgs()[i]...)
	}
	for _, n := range agents {
		n.waitLog(t, startLimit, `cannot go on yet, trying again.* doing="join cluster".*connection refused`)
	}
	server.start(t)
	for _, n := range agents[1:] {
		n.image = false // only the first runs a pod
	}
	for _, n := range agents {
		n.waitReady(t)
	}
	before := reinstall(t, server, agents[1])
	end := shorten(t, server, agents[2])
	for _, c := range []struct {
		name string
		test func(*testing.T, []*node)
	}{
		{"labels and taints", testLabels},
		{"a pod on an agent", testAgentPod},
		{"status of an agent", testAgentStatus},
		{"tokens", func(t *testing.T, nodes []*node) { testTokens(t, nodes[0], stranger) }},
		{"names of others", func(t *testing.T, nodes []*node) { testTakenNames(t, nodes, stranger) }},
		{"rights of a node", testNodeRights},
		{"rights of a token", testTokenRights},
		{"requests for others", testRequests},
		{"second start", testSecondStart},
		{"an agent on a server", testOnServer},
		{"reinstalled", func(t *testing.T, nodes []*node) { testReinstalled(t, nodes[0], nodes[2], before) }},
		{"renewal", func(t *testing.T, nodes []*node) { testRenewal(t, nodes[0], nodes[3], end) }},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, nodes) })
	}
}

// joinArgs are what the agents of TestJoin are started with.
func joinArgs() [][]string {
	return [][]string{
		{"--cluster-cidr", "10.42.0.0/16"}, nil, nil, nil,
		{"--node-label", "shop=17", "--node-label", "node.kubernetes.io/size=small", "--node-taint", "only=shop:NoSchedule"},
	}
}

func testLabels(t *testing.T, nodes []*node) {
	var n corev1.Node
	if err := nodes[0].mustClient(t).get(t.Context(), "/api/v1/nodes/host6", &n); err != nil {
		t.Fatal(err)
	}
	if role := nodes[0].kubectl(t, "get", "node", "host1", "--no-headers"); !strings.Contains(role, "control-plane") {
		t.Errorf("the server's node is shown as %q", role)
	}
	if n.Labels["shop"] != "17" || n.Labels["node.kubernetes.io/size"] != "small" {
		t.Errorf("labels %v", n.Labels)
	}
	if len(n.Spec.Taints) != 1 || n.Spec.Taints[0].Key != "only" || n.Spec.Taints[0].Effect != corev1.TaintEffectNoSchedule {
		t.Errorf("taints %v", n.Spec.Taints)
	}
}

func testAgentPod(t *testing.T, nodes []*node) {
	n := nodes[0]
	ns := n.namespace(t, "agent")
	n.apply(t, ns, podYAML("there", "nodeName: host2", "sh", "-c", "echo running; sleep 3600"))
	p := n.waitPodReady(t, ns, "there")
	if p.Status.HostIP != nodes[1].IP().String() {
		t.Errorf("pod runs on %s", p.Status.HostIP)
	}
	if got := n.exec(t, ns, "there", "cat", "/proc/sys/kernel/hostname"); strings.TrimSpace(got) != "there" {
		t.Errorf("exec answers %q", got)
	}
	if got := n.kubectl(t, "-n", ns, "logs", "there"); got != "running" {
		t.Errorf("log %q", got)
	}
}

func testAgentStatus(t *testing.T, nodes []*node) {
	n := nodes[1]
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"status"}, []string{"health        ok", "role          agent", "node          host2 ready"}},
		{[]string{"certificate", "list"}, []string{"kubelet-client  kubernetes", "kubelet-server  kubernetes"}},
		{[]string{"check", "--role", "agent"}, []string{"overlay", "10250"}},
		{[]string{"ctr", "images", "ls", "-q"}, []string{"kedge.local/pause:1"}},
	} {
		r := n.kedge(t, c.args...)
		if err := r.Check(); err != nil {
			t.Errorf("%v: %v\n%s", c.args, err, r.Stdout)
		}
		for _, w := range c.words {
			if !strings.Contains(r.Stdout, w) {
				t.Errorf("%v does not say %q:\n%s", c.args, w, r.Stdout)
			}
		}
	}
	if r := n.kedge(t, "token", "create"); r.Code != 1 || !strings.Contains(r.Stderr, "run the command as root on a server") {
		t.Errorf("token create on an agent: %+v", r)
	}
}

// testTokens starts an agent on a machine that is no member with everything that is wrong.
func testTokens(t *testing.T, server, n *node) {
	good, expired, deleted := server.token(t), server.token(t, "--ttl", "1s"), server.token(t)
	if err := server.kedge(t, "token", "delete", deleted).Check(); err != nil {
		t.Fatal(err)
	}
	fingerprint, bearer, _ := strings.Cut(good, "::")
	host.Eventually(t, 10*time.Second, "token expires", func() error {
		if r := server.kedge(t, "token", "list"); !strings.Contains(r.Stdout, "expired") {
			return fmt.Errorf("tokens:\n%s", r.Stdout)
		}
		return nil
	})
	for _, c := range []struct {
		name, token string
		args        []string
		code        int
		words       []string
	}{
		{"none", "", nil, 1, []string{"needs a token", "kedge token create", "KEDGE_TOKEN"}},
		{"cut off", good[:len(good)-3], nil, 1, []string{"read token: not a token", "cut off"}},
		{"unknown", fingerprint + "::aaaaaa.0123456789abcdef", nil, 1, []string{"does not accept the token aaaaaa: it does not know it"}},
		{"wrong secret", good[:len(good)-1] + other(good[len(good)-1:]), nil, 1, []string{"does not accept the token", "its secret is another"}},
		{"expired", expired, nil, 1, []string{"does not accept the token", "it expired 20"}},
		{"deleted", deleted, nil, 1, []string{"does not accept the token", "does not know it"}},
		{"other cluster", strings.Repeat("0", 64) + "::" + bearer, nil, 1, []string{"of another cluster, or somebody is in between", fingerprint, "the secret was not sent"}},
		{"other values", good, []string{"--cluster-cidr", "10.99.0.0/16"}, 2, []string{`"10\.99\.0\.0/16" is given here and the cluster has "10\.42\.0\.0/16"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.RemoveAll(n.Path(dataDir + "/agent")); err != nil {
				t.Fatal(err)
			}
			spec := host.Spec{Args: append([]string{"agent", "--node-name", "stranger", "--server", server.url()}, c.args...)}
			if c.token != "" {
				spec.Env = []string{"KEDGE_TOKEN=" + c.token}
			}
			code, said := n.failing(t, spec)
			expectError(t, code, said, c.code, c.words...)
			if strings.Contains(said, bearer[7:]) {
				t.Error("the secret is in the log")
			}
		})
	}
	t.Run("wrong clock", func(t *testing.T) { testClock(t, server, n, good) })
}

// other is another letter.
func other(letter string) string {
	if letter == "a" {
		return "b"
	}
	return "a"
}

// testTakenNames wants the names of a node that lives and of a server.
func testTakenNames(t *testing.T, nodes []*node, n *node) {
	server := nodes[0]
	token := server.token(t)
	for name, words := range map[string][]string{
		"host2": {"the cluster refuses: a live node has the name host2; give this machine another --node-name"},
		"host1": {"the cluster refuses: the name host1 belongs to a server; give this machine another --node-name"},
	} {
		if err := os.RemoveAll(n.Path(dataDir + "/agent")); err != nil {
			t.Fatal(err)
		}
		code, said := n.failing(t, host.Spec{
			Args: []string{"agent", "--node-name", name, "--server", server.url()}, Env: []string{"KEDGE_TOKEN=" + token},
		})
		expectError(t, code, said, 1, words...)
		code, said = n.failing(t, host.Spec{
			Args: []string{"server", "--node-name", name, "--server", server.url()}, Env: []string{"KEDGE_TOKEN=" + server.serverToken(t)},
		})
		expectError(t, code, said, 1, words...)
		if _, err := os.Stat(n.Path(dataDir + "/server/tls")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a server without a name has authorities: %v", err)
		}
	}
	if err := nodes[1].isReady(t.Context()); err != nil {
		t.Errorf("the node of that name suffered: %v", err)
	}
}

// testSecondStart stops an agent and starts it without a token.
func testSecondStart(t *testing.T, nodes []*node) {
	n := nodes[1]
	before, err := os.ReadFile(n.Path(dataDir + "/agent/tls/kubelet-client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if code, took := n.terminate(t); code != 0 || took > 10*time.Second {
		t.Errorf("exit status %d after %s, want 0 within 10 s", code, took)
	}
	n.join(t, nodes[0], "")
	n.waitReady(t)
	after, err := os.ReadFile(n.Path(dataDir + "/agent/tls/kubelet-client.crt"))
	if err != nil || string(before) != string(after) {
		t.Errorf("the certificate is another, error %v", err)
	}
}

// testOnServer starts an agent on a machine that was a server.
func testOnServer(t *testing.T, nodes []*node) {
	n := nodes[5]
	n.terminate(t)
	dir := n.Path(dataDir + "/server/tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	code, said := n.failing(t, host.Spec{Args: []string{"agent", "--server", nodes[0].url()}})
	expectError(t, code, said, 1, "this machine is a server", "kedge reset")
}

// reinstall cuts the power of a machine, empties its disk and joins it under the name it had. It returns the Node as it was
// and does not wait: the cluster has to notice first that the former one is gone.
func reinstall(t *testing.T, server, n *node) corev1.Node {
	t.Helper()
	var before corev1.Node
	if err := server.mustClient(t).get(t.Context(), "/api/v1/nodes/"+n.Name, &before); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Kill(), n.Boot()); err != nil {
		t.Fatal(err)
	}
	n.install(t)
	if err := n.kedge(t, "reset", "--yes").Check(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(n.Path(dataDir) + "/*"); err != nil || len(left) > 0 {
		t.Errorf("reset left %v, error %v", left, err)
	}
	file := filepath.Join(n.Home(), "token")
	if err := os.WriteFile(file, []byte(server.token(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.join(t, server, "", "--token-file", file)
	return before
}

// testReinstalled waits for the machine that reinstall joined again.
func testReinstalled(t *testing.T, server, n *node, before corev1.Node) {
	host.Eventually(t, startLimit, "node is ready again", func() error {
		if ready := strings.Count(n.log(t), "node is ready"); ready < 2 {
			return fmt.Errorf("the log ends with\n%s", lastLines(n.log(t), 5))
		}
		return n.isReady(t.Context())
	})
	var after corev1.Node
	if err := server.mustClient(t).get(t.Context(), "/api/v1/nodes/"+n.Name, &after); err != nil {
		t.Fatal(err)
	}
	if before.UID != after.UID {
		t.Error("the Node is another object: somebody deleted it")
	}
	if after.Spec.PodCIDR != before.Spec.PodCIDR {
		t.Errorf("pod CIDR %s, before %s", after.Spec.PodCIDR, before.Spec.PodCIDR)
	}
	if !strings.Contains(n.log(t), "waiting for the cluster's decision") {
		t.Error("the agent does not say what it waits for")
	}
	if got := server.kubectl(t, "get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/healthz"); got != "ok" {
		t.Errorf("the API server reads %q from the kubelet", got)
	}
}
