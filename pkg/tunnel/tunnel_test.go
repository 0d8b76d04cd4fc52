package tunnel

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"kedge/pkg/pki"
)

// TestThrough: connections reach the node's kubelet, whatever address they are for, many beside each other and with all their bytes.
func TestThrough(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	newClient(t, store.KubeconfigFile(pki.KubeletClient), newKubelet(t, "kubelet"), newList(a.address))
	a.awaitTunnels(t, "node-1", 1)
	var conns []net.Conn
	for range 20 {
		conn, err := a.Dial(t.Context(), "tcp", nodeAddress, node1())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		if got := ask(t, conn, "hello"); got != "kubelet hello" {
			t.Errorf("answer %q", got)
		}
	}
	if got := conns[0].RemoteAddr().String(); got != nodeAddress {
		t.Errorf("remote address %s", got)
	}
}

// TestBulk: much data in both directions arrives whole, and the end of it too.
func TestBulk(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.Copy(struct{ io.Writer }{conn}, conn)
			_ = conn.Close()
		}
	}()
	newClient(t, store.KubeconfigFile(pki.KubeletClient), l.Addr().String(), newList(a.address))
	a.awaitTunnels(t, "node-1", 1)
	conn, err := a.Dial(t.Context(), "tcp", nodeAddress, node1())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	data := make([]byte, 16<<20)
	_, _ = rand.Read(data) // never fails
	written := make(chan error, 1)
	go func() { _, err := conn.Write(data); written <- err }()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the same data did not come back: %v", err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestEnds: the end of either side is the end of the other.
func TestEnds(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	newClient(t, store.KubeconfigFile(pki.KubeletClient), l.Addr().String(), newList(a.address))
	a.awaitTunnels(t, "node-1", 1)

	near, err := a.Dial(t.Context(), "tcp", nodeAddress, node1())
	if err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	far := <-accepted
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Error("the kubelet's connection goes on")
	}
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("a closed connection is read")
	}

	near, err = a.Dial(t.Context(), "tcp", nodeAddress, node1())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close() }()
	far = <-accepted
	_ = far.Close()
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the kubelet's end: %v", err)
	}
}

// TestDeadline: a read that waits for ever ends when it should.
func TestDeadline(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	newClient(t, store.KubeconfigFile(pki.KubeletClient), newKubelet(t, "kubelet"), newList(a.address))
	a.awaitTunnels(t, "node-1", 1)
	conn, err := a.Dial(t.Context(), "tcp", nodeAddress, node1())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestKubeletDown: the node's word that its kubelet does not answer is an error, and nothing else is tried.
func TestKubeletDown(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	newClient(t, store.KubeconfigFile(pki.KubeletClient), "127.0.0.1:1", newList(a.address))
	a.awaitTunnels(t, "node-1", 1)
	_, err := a.Dial(t.Context(), "tcp", newKubelet(t, "direct"), node1())
	want := "connect to kubelet of node node-1 through its tunnel: 502 Bad Gateway: dial tcp 127.0.0.1:1: connect: connection refused"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRefused: a request that is no upgrade, and a certificate that is no node's.
func TestRefused(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	c := NewClient(ClientConfig{Kubeconfig: store.KubeconfigFile(pki.KubeletClient), Log: quiet()})
	config, err := c.identity(a.address)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	answer, err := web.Get("https://" + a.address + Path)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusUpgradeRequired || answer.Header.Get("Upgrade") != protocol {
		t.Errorf("a request without upgrade is answered with %s, Upgrade %q", answer.Status, answer.Header.Get("Upgrade"))
	}
	other := NewClient(ClientConfig{Kubeconfig: store.KubeconfigFile(pki.Scheduler), Log: quiet()})
	if _, err := other.connect(t.Context(), a.address); err == nil || err.Error() != "ask for a tunnel: the API server refuses: 403 Forbidden: forbidden" {
		t.Errorf("error %v", err)
	}
}

// TestExpiry: a tunnel does not outlive the certificate that opened it.
func TestExpiry(t *testing.T) {
	store := certificates(t)
	a := newAPI(t, store, "127.0.0.1:0")
	a.until = time.Now().Add(300 * time.Millisecond)
	c := NewClient(ClientConfig{Kubeconfig: store.KubeconfigFile(pki.KubeletClient), Log: quiet()})
	conn, err := c.connect(t.Context(), a.address)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the tunnel goes on: %v", err)
	}
	a.awaitTunnels(t, "node-1", 0)
}
