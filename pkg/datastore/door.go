package datastore

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"
)

// Port is the TCP port on which servers reach each other's members.
const Port = 2380

const (
	// helloTimeout bounds the wait for a caller's first words.
	helloTimeout = 10 * time.Second
	// listenInterval is the pause before a port that is taken is tried again.
	listenInterval = 5 * time.Second
)

// door passes connections from other servers on to the member.
type door struct {
	address string // host:port to listen on
	peers   string // host:port of the member's listener for peers
	socket  string // the member's socket for clients
	open    <-chan struct{}
	log     *slog.Logger
}

// Name is that of the component.
func (d *door) Name() string { return "etcd door" }

// Run listens from the moment at which the door is opened until ctx ends.
func (d *door) Run(ctx context.Context, ready func()) error {
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-d.open:
	}
	l, err := d.listen(ctx)
	if err != nil {
		return nil //nolint:nilerr // ctx ended
	}
	d.log.Info("other servers can reach the datastore", "address", d.address)
	context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("accept connections of other servers on %s: %w", d.address, err)
		}
		calls.Go(func() {
			if err := d.pass(ctx, conn); err != nil && ctx.Err() == nil {
				d.log.Debug("connection was not passed on", "from", conn.RemoteAddr(), "error", err)
			}
		})
	}
}

// listen tries until it succeeds or ctx ends: somebody else may have the port, and the cluster must not end over it.
func (d *door) listen(ctx context.Context) (net.Listener, error) {
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.address)
		if err == nil {
			return l, nil
		}
		d.log.Warn("other servers cannot reach the datastore: free this port, or give the machine this address", "address", d.address, "error", err)
		timer := time.NewTimer(listenInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// pass connects the caller with the member until one of them ends.
func (d *door) pass(ctx context.Context, caller net.Conn) error {
	defer caller.Close() // both sides are done
	if err := caller.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	name, said, err := serverName(ctx, caller)
	if err != nil {
		return err
	}
	if err := caller.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	network, target := "tcp", d.peers
	if name == filepath.Base(d.socket) {
		network, target = "unix", d.socket
	}
	member, err := new(net.Dialer).DialContext(ctx, network, target)
	if err != nil {
		return fmt.Errorf("reach own member: %w", err)
	}
	defer member.Close() // as above
	defer context.AfterFunc(ctx, func() { _, _ = caller.Close(), member.Close() })()
	if _, err := member.Write(said); err != nil {
		return fmt.Errorf("pass first bytes on: %w", err)
	}
	var back sync.WaitGroup
	defer back.Wait()
	back.Go(func() { copyHalf(caller, member) })
	copyHalf(member, caller)
	return nil
}

// copyHalf copies one direction and tells the receiver that nothing more comes.
func copyHalf(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_, _ = to.Close(), from.Close() // the other direction ends as well
	}
}

// errHeard ends the handshake of which only the first message is wanted.
var errHeard = errors.New("heard")

// serverName reads the first message of a TLS handshake and returns the name that it asks for, and what was read.
func serverName(ctx context.Context, conn net.Conn) (name string, said []byte, err error) {
	listener := &listenOnly{Conn: conn}
	heard := false
	err = tls.Server(listener, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name, heard = hello.ServerName, true
			return nil, errHeard
		},
	}).HandshakeContext(ctx)
	if !heard {
		return "", nil, fmt.Errorf("read the beginning of a TLS handshake: %w", err)
	}
	return name, listener.said.Bytes(), nil
}

// listenOnly keeps what is read and answers nothing.
type listenOnly struct {
	net.Conn
	said bytes.Buffer
}

func (l *listenOnly) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.said.Write(b[:n])
	return n, err
}

func (l *listenOnly) Write(b []byte) (int, error) { return len(b), nil }

// Close leaves the connection to its owner.
func (l *listenOnly) Close() error { return nil }
