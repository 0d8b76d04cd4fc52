package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// connectTimeout bounds the way from the first packet to the API server's answer.
const connectTimeout = 10 * time.Second

// errRefused means that an API server answered and opened no tunnel, which it does while it starts.
var errRefused = errors.New("the API server refuses")

// connect opens a connection to a server and has it upgraded.
func (c *Client) connect(ctx context.Context, server string) (net.Conn, error) {
	config, err := c.identity(server)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: -1}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, fmt.Errorf("connect to API server: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	upgraded, err := c.upgrade(conn, server)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return upgraded, nil
}

// identity reads the node's certificate and whom it trusts.
func (c *Client) identity(server string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return nil, fmt.Errorf("parse API server's address: %w", err)
	}
	kubeconfig, err := clientcmd.BuildConfigFromFlags("", c.cfg.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load node's credentials: %w", err)
	}
	config, err := rest.TLSConfigFor(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load node's credentials: %w", err)
	}
	config.ServerName = host
	config.NextProtos = []string{"http/1.1"}
	return config, nil
}

// upgrade asks for the tunnel. What the server sends right behind its answer is part of the tunnel.
func (c *Client) upgrade(conn net.Conn, server string) (net.Conn, error) {
	if err := harden(conn); err != nil {
		return nil, err
	}
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", Path, server, protocol)
	if err != nil {
		return nil, fmt.Errorf("ask for a tunnel: %w", err)
	}
	buffered := bufio.NewReader(conn)
	answer, err := http.ReadResponse(buffered, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for a tunnel: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 512)) // what came of it
		_ = answer.Body.Close()
		return nil, fmt.Errorf("ask for a tunnel: %w: %s: %s", errRefused, answer.Status, strings.TrimSpace(string(text)))
	}
	return resumed{conn, buffered}, nil
}

// resumed is a connection of which something has been read ahead.
type resumed struct {
	net.Conn
	ahead *bufio.Reader
}

func (r resumed) Read(p []byte) (int, error) { return r.ahead.Read(p) }
