package tunnel

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"kedge/pkg/pki"
)

// settle makes a server believe that it has been running for long, and lost no tunnel lately.
func (a *api) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = time.Now().Add(-time.Hour)
	clear(a.lost)
}

// TestDirect: everything that has no tunnel is reached directly, at once.
func TestDirect(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	a.settle()
	for name, claims := range map[string][]Claim{"nobody's": nil, "own": {{Node: "server-1"}}, "without a tunnel": node1()} {
		begin := time.Now()
		conn, err := a.Dial(t.Context(), "tcp", newKubelet(t, "direct"), claims)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := ask(t, conn, "x"); got != "direct x" {
			t.Errorf("%s: answer %q", name, got)
		}
		if took := time.Since(begin); took > 2*headStart {
			t.Errorf("%s: took %s", name, took)
		}
		_ = conn.Close()
	}
	if _, err := a.Dial(t.Context(), "tcp", nodeAddress, node1()); err == nil || !strings.HasPrefix(err.Error(), "connect to kubelet: dial tcp "+nodeAddress) {
		t.Errorf("error %v", err)
	}
}

// TestRestart: right after a server's start nodes have no tunnel yet and cannot be reached directly. Whoever asks waits for it.
func TestRestart(t *testing.T) {
	store := certificates(t)
	first := newAPI(t, store, "127.0.0.1:0")
	newClient(t, store.KubeconfigFile(pki.KubeletClient), newKubelet(t, "kubelet"), newList(first.address))
	first.awaitTunnels(t, "node-1", 1)
	running, err := first.Dial(t.Context(), "tcp", nodeAddress, node1())
	if err != nil {
		t.Fatal(err)
	}
	first.stop()
	if got := ask(t, running, "x"); got == "kubelet x" {
		t.Error("a connection outlives its server")
	}
	again := newAPI(t, store, first.address)
	begin := time.Now()
	conn, err := again.Dial(t.Context(), "tcp", nodeAddress, node1())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := ask(t, conn, "x"); got != "kubelet x" {
		t.Errorf("answer %q", got)
	}
	t.Logf("through the new tunnel after %s", time.Since(begin))
}

// TestStarting: a server that refuses at first, because it has not read its roles yet, is asked again soon, however long it was away.
func TestStarting(t *testing.T) {
	store := certificates(t)
	away := newAPI(t, store, "127.0.0.1:0")
	away.stop()
	servers := newList(away.address)
	newClient(t, store.KubeconfigFile(pki.KubeletClient), newKubelet(t, "kubelet"), servers)
	back := newAPI(t, store, away.address)
	back.refuse.Store(5)
	begin := time.Now()
	back.awaitTunnels(t, "node-1", 1)
	if took := time.Since(begin); took > 2*lastWait {
		t.Errorf("the tunnel came after %s", took)
	}
}

// TestListed: a change of the servers ends the pause, because a server that comes up lists itself.
func TestListed(t *testing.T) {
	store := certificates(t)
	away := newAPI(t, store, "127.0.0.1:0")
	away.stop()
	servers := newList(away.address)
	c := NewClient(ClientConfig{Kubeconfig: store.KubeconfigFile(pki.KubeletClient), Servers: servers, Log: quiet()})
	changed := servers.Changed()
	gone := make(chan struct{})
	next := make(chan time.Duration, 1)
	go func() { wait, _ := c.rest(t.Context(), time.Hour, changed, gone); next <- wait }()
	servers.set(away.address, "127.0.0.1:1")
	if wait := <-next; wait != firstWait {
		t.Errorf("the next pause is %s, want %s", wait, firstWait)
	}
}

// TestCut: when the tunnel is gone the direct way is taken, and when it is back the tunnel.
func TestCut(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	servers := newList(a.address)
	stop := newClient(t, store.KubeconfigFile(pki.KubeletClient), newKubelet(t, "tunnel"), servers)
	directly := newKubelet(t, "direct")
	expect := func(want string) {
		t.Helper()
		conn, err := a.Dial(t.Context(), "tcp", directly, node1())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if got := ask(t, conn, "x"); got != want {
			t.Errorf("answer %q, want %q", got, want)
		}
	}
	a.awaitTunnels(t, "node-1", 1)
	expect("tunnel x")
	stop()
	a.awaitTunnels(t, "node-1", 0)
	expect("direct x")
	newClient(t, store.KubeconfigFile(pki.KubeletClient), newKubelet(t, "tunnel"), servers)
	a.awaitTunnels(t, "node-1", 1)
	expect("tunnel x")
}

// TestHalfDead: a tunnel whose node takes everything and answers nothing is given up, and the direct way is taken.
func TestHalfDead(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	a.settle()
	c := NewClient(ClientConfig{Kubeconfig: store.KubeconfigFile(pki.KubeletClient), Log: quiet()})
	mute, err := c.connect(t.Context(), a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	a.awaitTunnels(t, "node-1", 1)
	begin := time.Now()
	conn, err := a.Dial(t.Context(), "tcp", newKubelet(t, "direct"), node1())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := ask(t, conn, "x"); got != "direct x" {
		t.Errorf("answer %q", got)
	}
	if took := time.Since(begin); took > 2*answerTimeout {
		t.Errorf("took %s", took)
	}
	a.awaitTunnels(t, "node-1", 0)
}

// TestCancel: whoever does not want to wait longer gets an answer.
func TestCancel(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Dial(ctx, "tcp", nodeAddress, node1()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestServers: a node has a tunnel to each server, a server that is no longer listed keeps the one it has until it ends, and two names of
// one server do no harm.
func TestServers(t *testing.T) {
	store := certificates(t)
	one, two := newAPI(t, store, "127.0.0.1:0"), newAPI(t, store, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(one.address)
	if err != nil {
		t.Fatal(err)
	}
	servers := newList(one.address, "localhost:"+port)
	newClient(t, store.KubeconfigFile(pki.KubeletClient), newKubelet(t, "kubelet"), servers)
	one.awaitTunnels(t, "node-1", 2)
	servers.set(two.address)
	two.awaitTunnels(t, "node-1", 1)
	for _, a := range []*api{one, two} {
		conn, err := a.Dial(t.Context(), "tcp", nodeAddress, node1())
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, conn, "x"); got != "kubelet x" {
			t.Errorf("answer %q", got)
		}
		_ = conn.Close()
	}
	one.stop()
	again := newAPI(t, store, one.address)
	servers.set(two.address, again.address)
	again.awaitTunnels(t, "node-1", 1)
}

// TestMany: a node that comes again and again does not pile up tunnels.
func TestMany(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	c := NewClient(ClientConfig{Kubeconfig: store.KubeconfigFile(pki.KubeletClient), Log: quiet()})
	for range perNode + 3 {
		conn, err := c.connect(t.Context(), a.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	a.awaitTunnels(t, "node-1", perNode)
}
