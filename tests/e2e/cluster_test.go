package e2e

import (
	"fmt"
	"strings"
	"testing"

	"kedge/tests/host"
)

// bootCluster makes count hosts, starts a server on the first and joins the others to it as agents; all are ready.
func bootCluster(t *testing.T, count int, options ...host.Options) []*node {
	t.Helper()
	nodes := newNodes(t, count, options...)
	nodes[0].start(t)
	nodes[0].waitReady(t)
	token := nodes[0].token(t)
	for _, n := range nodes[1:] {
		n.join(t, nodes[0], token)
	}
	for _, n := range nodes[1:] {
		n.waitReady(t)
	}
	return nodes
}

// url is where the API server of a server is.
func (n *node) url() string { return fmt.Sprintf("https://%s:6443", n.IP()) }

// token makes a token on a server; args as of kedge token create.
func (n *node) token(t testing.TB, args ...string) string {
	t.Helper()
	r := n.kedge(t, append([]string{"token", "create"}, args...)...)
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	if strings.Count(r.Stdout, "\n") != 1 || r.Stderr != "" {
		t.Errorf("kedge token create printed %q and %q; want the token alone", r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// join starts an agent that joins a server, and does not wait for it. Without a token it must have joined before.
func (n *node) join(t testing.TB, server *node, token string, args ...string) {
	t.Helper()
	n.via = server
	var env []string
	if token != "" {
		env = []string{"KEDGE_TOKEN=" + token}
	}
	n.startAs(t, "agent", env, append([]string{"--server", server.url()}, args...)...)
}
