// Package etcd runs an etcd member inside the process. It is the only package that imports the etcd server.
// Client traffic arrives on a Unix socket, peer traffic on a loopback port, both under mutual TLS with the etcd
// authority, so that nobody but holders of its certificates can reach the data. Other machines' traffic is brought to
// the two by pkg/datastore's door, while there are or may be other members.
package etcd

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"google.golang.org/grpc"

	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
)

// Tuning for small machines with slow flash. Every acknowledged write is in the write-ahead log and synced before;
// the interval only decides how often the key-value file is brought up to date, and a crash replays the log.
const (
	batchInterval = 30 * time.Second
	batchLimit    = 500 // writes; each read after a write copies what is pending
	tick          = 100 * time.Millisecond
	electionTicks = 10 // a leader is missed after 1 to 2 s; flash may stall for less. A lone member does not wait, see lone.go
	quotaBytes    = 8 << 30
	slowRequest   = 500 * time.Millisecond // logged as a warning; flash stalls that long

	// A member that lags further behind gets the whole database. The entries stay in memory, also where no other member is:
	// with etcd's 5000 they were 10 MB after a conformance run.
	catchUpEntries = 1000
)

// Config says where the member lives and who it is. All fields but Cluster, Reset and Args are required.
type Config struct {
	Name      string // member name, unique in the cluster
	Dir       string // data directory
	Socket    string // Unix socket for clients; its base name is the TLS server name
	Peer      string // host:port on which the member listens for peers
	Advertise string // the URL at which peers reach that, https://host:port

	Client  TLS // certificate for clients' connections
	Members TLS // certificate for peers' connections

	Cluster map[string]string // names and peer URLs of all members, this one included, of a cluster that it has been added to; empty: a new cluster
	Reset   bool              // make a cluster of this member alone, of the data that it has

	Args []config.Arg // flags of etcd, for example quota-backend-bytes
	Log  *slog.Logger
}

// TLS names the files of one side of mutual TLS.
type TLS struct{ Cert, Key, CA string }

// Endpoint is the URL at which clients reach the member.
func (c Config) Endpoint() string { return "unixs://" + c.Socket }

// Member is an etcd member, a component that is ready when it serves linearizable requests.
type Member struct {
	config Config
	gate   *gate

	mu      sync.Mutex
	server  *etcdserver.EtcdServer // nil unless it runs
	started chan struct{}          // closed when server is set for the first time
}

var _ lifecycle.Component = (*Member)(nil)

// New returns the member that c describes.
func New(c Config) *Member {
	return &Member{config: c, gate: newGate(), started: make(chan struct{})}
}

// Name is that of the component.
func (m *Member) Name() string { return "etcd" }

// Run runs the member until ctx ends. It may be called once.
func (m *Member) Run(ctx context.Context, ready func()) error {
	c := m.config
	cfg, err := c.embed()
	if err != nil {
		return err
	}
	cfg.GRPCAdditionalServerOptions = append(cfg.GRPCAdditionalServerOptions, grpc.ChainUnaryInterceptor(m.gate.unary))
	if err := os.Remove(c.Socket); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	if c.Reset {
		if err := commitAll(cfg, c.Log); err != nil {
			return fmt.Errorf("prepare the data for a cluster of one: %w", err)
		}
	}
	member, err := start(cfg)
	if err != nil {
		return fmt.Errorf("open etcd data directory %s: %w; nothing was changed: restore it from a snapshot or a copy, "+
			"or move it away to begin with an empty cluster", c.Dir, err)
	}
	defer member.Close()
	m.set(member.Server)
	defer m.set(nil)
	background, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	helpers.Go(func() { m.watchQuorum(background, member.Server) })
	helpers.Go(func() { m.gate.followLeader(background, member.Server) })
	helpers.Go(func() { campaignAlone(background, member.Server) })
	select {
	case <-member.Server.ReadyNotify():
		helpers.Go(func() { m.followHandovers(background, member.Server) })
		ready()
	case <-ctx.Done():
		return ctx.Err()
	case err := <-member.Err():
		return fmt.Errorf("start member: %w", err)
	case <-member.Server.StopNotify():
		return m.stoppedItself()
	}
	select {
	case <-ctx.Done():
		m.handOver(member.Server)
		return nil
	case err := <-member.Err():
		return fmt.Errorf("serve: %w", err)
	case <-member.Server.StopNotify():
		return m.stoppedItself()
	}
}

// stoppedItself explains the only reason for which etcd stops without being asked to.
func (m *Member) stoppedItself() error {
	return fmt.Errorf("this server was removed from the cluster: to join again, run kedge reset here and start it with --server and a new token")
}

func (m *Member) set(s *etcdserver.EtcdServer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.server = s
	m.gate.set(s)
	if s == nil {
		return
	}
	select {
	case <-m.started:
	default:
		close(m.started)
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
	listen := url.URL{Scheme: "https", Host: c.Peer}
	advertise, err := url.Parse(c.Advertise)
	if err != nil {
		return nil, fmt.Errorf("parse URL for peers: %w", err)
	}
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "https", Host: "localhost:2379"}} // never dialled: every server asks its own member
	cfg.ListenPeerUrls = []url.URL{listen}
	cfg.AdvertisePeerUrls = []url.URL{*advertise}
	cfg.InitialCluster = cfg.InitialClusterFromName(c.Name)
	if len(c.Cluster) > 0 {
		cfg.InitialCluster, cfg.ClusterState = initialCluster(c.Cluster), embed.ClusterStateFlagExisting
	}
	cfg.ForceNewCluster = c.Reset
	cfg.ClientTLSInfo = c.Client.info()
	cfg.PeerTLSInfo = c.Members.info()
	cfg.BackendBatchInterval = batchInterval
	cfg.BackendBatchLimit = batchLimit
	cfg.TickMs = uint(tick.Milliseconds())
	cfg.ElectionMs = electionTicks * cfg.TickMs
	cfg.QuotaBackendBytes = quotaBytes
	cfg.SnapshotCatchUpEntries = catchUpEntries
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

func initialCluster(members map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		all = append(all, name+"="+members[name])
	}
	return strings.Join(all, ",")
}

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: t.Cert, KeyFile: t.Key, TrustedCAFile: t.CA, ClientCertAuth: true}
}
