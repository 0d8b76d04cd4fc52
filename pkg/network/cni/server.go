package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"kedge/pkg/network/cni/wire"
)

// requestTimeout bounds how long a connection may take to say what it wants.
const requestTimeout = 10 * time.Second

// serve answers calls until ctx ends, and returns when those in flight are done.
func (n *Network) serve(ctx context.Context, ready func()) error {
	listener, err := n.listen()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	if err := n.announce(); err != nil {
		return errors.Join(err, listener.Close())
	}
	ready()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept CNI call at %s: %w", n.cfg.Socket, err)
		}
		calls.Go(func() { n.answer(conn) })
	}
}

func (n *Network) listen() (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(n.cfg.Socket), 0o700); err != nil {
		return nil, fmt.Errorf("create directory of CNI socket: %w", err)
	}
	if err := removeFile(n.cfg.Socket); err != nil { // of a process that was killed
		return nil, fmt.Errorf("replace CNI socket: %w", err)
	}
	listener, err := net.Listen("unix", n.cfg.Socket)
	if err != nil {
		return nil, fmt.Errorf("open CNI socket: %w", err)
	}
	if err := os.Chmod(n.cfg.Socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect CNI socket: %w", err), listener.Close())
	}
	return listener, nil
}

// announce publishes the configuration if the network is set up; if not, setUp will.
func (n *Network) announce() error {
	n.program.Lock()
	defer n.program.Unlock()
	n.mu.Lock()
	n.serving = true
	known := len(n.pools) > 0
	n.mu.Unlock()
	if !known {
		return nil
	}
	return n.publishConf()
}

// answer serves one connection.
func (n *Network) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(requestTimeout))
	var request wire.Request
	if err := json.NewDecoder(conn).Decode(&request); err != nil {
		n.log.Warn("unreadable CNI call", "error", err)
		return
	}
	begin := time.Now()
	response := n.respond(request)
	attrs := []any{
		"command", request.Command, "container", request.ContainerID, "duration", time.Since(begin),
	}
	if response.Error != nil {
		n.log.Warn("CNI call failed", append(attrs, "error", response.Error)...)
	} else {
		n.log.Debug("CNI call", attrs...)
	}
	if err := json.NewEncoder(conn).Encode(response); err != nil {
		n.log.Warn("nobody waits for the answer to a CNI call", append(attrs, slog.Any("error", err))...)
	}
}

// respond turns the outcome of a call, a panic included, into what kedge-cni prints.
func (n *Network) respond(request wire.Request) (response wire.Response) {
	defer func() {
		if r := recover(); r != nil {
			response = failure(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	result, err := n.dispatch(request)
	if err != nil {
		return failure(err)
	}
	if result == nil {
		return wire.Response{}
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return failure(fmt.Errorf("encode CNI result: %w", err))
	}
	return wire.Response{Result: raw}
}

func failure(err error) wire.Response {
	if known := (*wire.Error)(nil); errors.As(err, &known) {
		return wire.Response{Error: known}
	}
	return wire.Response{Error: &wire.Error{Code: wire.CodeInternal, Msg: err.Error()}}
}
