package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"kedge/tests/host"
)

// TestFailover: an agent of three servers loses the power of the one that it uses, and gets it back. Nothing can reach the agent from outside.
func TestFailover(t *testing.T) {
	nodes := newNodes(t, 4)
	servers, agent := nodes[:3], nodes[3]
	servers[0].start(t)
	servers[0].waitReady(t)
	token := servers[0].serverToken(t)
	for _, n := range servers[1:] {
		n.startWith(t, []string{"KEDGE_TOKEN=" + token}, "--server", servers[0].url())
	}
	for _, n := range servers[1:] {
		n.waitReady(t)
	}
	agent.join(t, servers[0], servers[0].token(t))
	agent.waitReady(t)
	agent.refuseInbound(t)
	for _, n := range servers {
		n.kubectl(t, "cordon", n.Name)
	}
	ns := servers[0].namespace(t, "failover")
	servers[0].serving(t, ns, "web")

	silent, used := agent.apiServer(t)
	victim := servers[slices.IndexFunc(servers, func(n *node) bool { return n.Name == used })]
	other := servers[(slices.Index(servers, victim)+1)%len(servers)]
	for _, n := range servers {
		if got := n.exec(t, ns, "web", "hostname"); got != "web" {
			t.Errorf("hostname by way of %s: %q", n.Name, got)
		}
	}

	begin := time.Now()
	if err := victim.Cut(); err != nil { // before the power goes: a dying kernel would still say good-bye
		t.Fatal(err)
	}
	conn, next := agent.apiServer(t)
	_ = conn.Close()
	took := time.Since(begin) // 0.3 s; a busy machine needs longer
	t.Logf("%s after the power cut of %s the agent is served by %s", took, used, next)
	if next == used || took > 4*time.Second {
		t.Error("the agent does not go to another server soon")
	}
	if err := silent.SetReadDeadline(begin.Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a connection that was silent goes on: %v", err)
	}
	t.Logf("a silent connection was closed %s after the power cut", time.Since(begin))
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	host.Eventually(t, 10*time.Second, "exec by way of "+other.Name, func() error { // the datastore may have lost its leader
		return other.tryKubectl(t, "", "exec", "-n", ns, "web", "--", "true").Check()
	})

	if err := errors.Join(victim.Boot(), victim.Mend()); err != nil {
		t.Fatal(err)
	}
	victim.install(t)
	victim.start(t)
	host.Eventually(t, startLimit, "API server answers", func() error {
		return victim.tryKubectl(t, "", "get", "--raw", "/readyz").Check()
	})
	if got := victim.exec(t, ns, "web", "hostname"); got != "web" {
		t.Errorf("hostname by way of %s: %q", victim.Name, got)
	}
}

// apiServer connects through the agent's balancer and returns the connection and the name of the server at its other end.
func (n *node) apiServer(t *testing.T) (conn *tls.Conn, name string) {
	t.Helper()
	host.Eventually(t, 10*time.Second, "API server behind the balancer", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		plain, err := n.Dial(ctx, "tcp", "127.0.0.1:6444")
		if err != nil {
			return err
		}
		conn = tls.Client(plain, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only who it is matters
		if err := conn.HandshakeContext(ctx); err != nil {
			return errors.Join(fmt.Errorf("shake hands: %w", err), plain.Close())
		}
		for _, n := range n.lab.Hosts {
			if slices.Contains(conn.ConnectionState().PeerCertificates[0].DNSNames, n.Name) {
				name = n.Name
				return nil
			}
		}
		return io.ErrUnexpectedEOF
	})
	t.Cleanup(func() { _ = conn.Close() })
	return conn, name
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
