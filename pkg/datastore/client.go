package datastore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"kedge/embedded/etcd"
	"kedge/pkg/logging"
)

const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 10 * time.Second
)

// Client speaks to a member: this server's own, or other servers'.
type Client struct {
	etcd *clientv3.Client
}

// Local connects to this server's own member. credentials name a client's certificate.
func Local(socket string, credentials etcd.TLS, log *slog.Logger) (*Client, error) {
	return newClient("unixs://"+socket, credentials, log)
}

// Remote connects to the members of other servers through their doors. addresses are host:port; socket is the name of the
// members' sockets, which the door listens for.
func Remote(addresses []string, socket string, credentials etcd.TLS, log *slog.Logger) (*Client, error) {
	if len(addresses) == 0 {
		return nil, errors.New("create client of etcd: no server is known")
	}
	next := atomic.Uint32{}
	dial := func(ctx context.Context, _ string) (net.Conn, error) { // begins with another address each time
		var errs []error
		first := int(next.Add(1) - 1)
		for i := range addresses {
			d := net.Dialer{Timeout: reachTimeout}
			conn, err := d.DialContext(ctx, "tcp", addresses[(first+i)%len(addresses)])
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
	return newClient("https://"+net.JoinHostPort(filepath.Base(socket), strconv.Itoa(Port)), credentials, log, grpc.WithContextDialer(dial))
}

func newClient(endpoint string, credentials etcd.TLS, log *slog.Logger, options ...grpc.DialOption) (*Client, error) {
	files := transport.TLSInfo{CertFile: credentials.Cert, KeyFile: credentials.Key, TrustedCAFile: credentials.CA}
	tls, err := files.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("load credentials for etcd: %w", err)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, TLS: tls, DialTimeout: dialTimeout, DialOptions: options, Logger: logging.Zap(log, "etcd client"),
	})
	if err != nil {
		return nil, fmt.Errorf("create client of etcd: %w", err)
	}
	return &Client{c}, nil
}

// Close ends the connection.
func (c *Client) Close() error {
	if err := c.etcd.Close(); err != nil {
		return fmt.Errorf("close connection to etcd: %w", err)
	}
	return nil
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestTimeout)
}
