package datastore

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// says starts something that says its name and what it hears.
func says(t *testing.T, network, address, name string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				heard, err := io.ReadAll(conn)
				if err == nil {
					_, _ = io.WriteString(conn, name+" "+string(heard[:1]))
				}
			}()
		}
	}()
	return l
}

// hello is the first message of a TLS client.
func hello(t *testing.T, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	}()
	defer client.Close()
	buf := make([]byte, 4096)
	n, err := server.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// freePort returns an address on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestDoor: it is closed until it is opened, tells clients from peers, and closes with its context.
func TestDoor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "etcd.sock")
	says(t, "unix", socket, "clients")
	peers := says(t, "tcp", "127.0.0.1:0", "peers")
	open := make(chan struct{})
	d := &door{address: freePort(t), peers: peers.Addr().String(), socket: socket, open: open, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() { ended <- d.Run(ctx, func() { close(ready) }) }()
	<-ready
	if conn, err := net.Dial("tcp", d.address); err == nil {
		conn.Close()
		t.Error("the door is open")
	}
	close(open)
	for name, want := range map[string]string{"etcd.sock": "clients \x16", "other.name": "peers \x16", "": "peers \x16"} {
		if got, err := call(t, d.address, hello(t, name)); err != nil || got != want {
			t.Errorf("with the name %q: %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := call(t, d.address, []byte("GET / HTTP/1.1\r\n\r\n")); err == nil && got != "" {
		t.Errorf("without TLS: %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", d.address); err == nil {
		t.Error("the door is still open")
	}
}

// call sends text through the door as soon as there is one, and returns the answer.
func call(t *testing.T, address string, text []byte) (string, error) {
	t.Helper()
	var conn net.Conn
	err := errors.New("not tried")
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); {
		conn, err = net.Dial("tcp", address)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(text); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	var b strings.Builder
	_, err = io.Copy(&b, conn)
	return b.String(), err
}
