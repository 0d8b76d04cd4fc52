// Package etcd runs an etcd member inside the process. It is the only package that imports the etcd server.
// Client traffic arrives on a Unix socket, peer traffic on a loopback port, both under mutual TLS with the etcd
// authority, so that nobody but holders of its certificates can reach the data.
package etcd

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
)

// Tuning for small machines with slow flash. Every acknowledged write is in the write-ahead log and synced before;
// the interval only decides how often the key-value file is brought up to date, and a crash replays the log.
const (
	batchInterval = 30 * time.Second
	batchLimit    = 500 // writes; each read after a write copies what is pending
	tick          = 60 * time.Millisecond
	electionTicks = 5 // a lone member waits one to six ticks before it elects itself
	quotaBytes    = 8 << 30
	slowRequest   = 500 * time.Millisecond // logged as a warning; flash stalls that long
)

// Config says where the member lives and who it is. All fields but Args are required.
type Config struct {
	Name   string // member name, unique in the cluster
	Dir    string // data directory
	Socket string // Unix socket for clients; its base name is the TLS server name
	Peer   string // host:port for peers

	Client  TLS // certificate for clients' connections
	Members TLS // certificate for peers' connections

	Args []config.Arg // optional: flags of etcd, for example quota-backend-bytes
	Log  *slog.Logger
}

// TLS names the files of one side of mutual TLS.
type TLS struct{ Cert, Key, CA string }

// Endpoint is the URL at which clients reach the member.
func (c Config) Endpoint() string { return "unixs://" + c.Socket }

// New returns the member as a component, ready when it serves linearizable requests.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("etcd", func(ctx context.Context, ready func()) error {
		return run(ctx, c, ready)
	})
}

func run(ctx context.Context, c Config, ready func()) error {
	cfg, err := c.embed()
	if err != nil {
		return err
	}
	if err := os.Remove(c.Socket); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	member, err := start(cfg)
	if err != nil {
		return fmt.Errorf("open etcd data directory %s: %w; nothing was changed: restore it from a snapshot or a copy, "+
			"or move it away to begin with an empty cluster", c.Dir, err)
	}
	defer member.Close()
	select {
	case <-member.Server.ReadyNotify():
		ready()
	case <-ctx.Done():
		return ctx.Err()
	case err := <-member.Err():
		return fmt.Errorf("start member: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-member.Err():
		return fmt.Errorf("serve: %w", err)
	case <-member.Server.StopNotify():
		return fmt.Errorf("member stopped by itself")
	}
}

// start turns the panics with which etcd reports damaged files into an error.
func start(cfg *embed.Config) (member *embed.Etcd, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	if err := check(cfg); err != nil {
		return nil, err
	}
	return embed.StartEtcd(cfg)
}

func (c Config) embed() (*embed.Config, error) {
	cfg := embed.NewConfig()
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	cfg.AddFlags(flags) // sets every field to its default: before anything else
	cfg.Name = c.Name
	cfg.Dir = c.Dir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logging.Zap(c.Log, "etcd"))
	client := url.URL{Scheme: "unixs", Path: c.Socket}
	peer := url.URL{Scheme: "https", Host: c.Peer}
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "https", Host: "localhost:2379"}} // never dialled while there is one member
	cfg.ListenPeerUrls = []url.URL{peer}
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(c.Name)
	cfg.ClientTLSInfo = c.Client.info()
	cfg.PeerTLSInfo = c.Members.info()
	cfg.BackendBatchInterval = batchInterval
	cfg.BackendBatchLimit = batchLimit
	cfg.TickMs = uint(tick.Milliseconds())
	cfg.ElectionMs = electionTicks * cfg.TickMs
	cfg.QuotaBackendBytes = quotaBytes
	cfg.WarningUnaryRequestDuration = slowRequest
	cfg.EnableGRPCGateway = false // JSON over HTTP for etcd itself, with a connection of its own
	if err := set(cfg, flags, c.Args); err != nil {
		return nil, err
	}
	for _, dir := range []string{c.Dir, filepath.Dir(c.Socket)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("create directory: %w", err)
		}
	}
	return cfg, nil
}

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: t.Cert, KeyFile: t.Key, TrustedCAFile: t.CA, ClientCertAuth: true}
}
