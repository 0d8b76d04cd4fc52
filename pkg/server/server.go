package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"kedge/pkg/agent"
	"kedge/pkg/config"
	"kedge/pkg/cri/registries"
	"kedge/pkg/datastore"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/node/lock"
	"kedge/pkg/node/machine"
	"kedge/pkg/node/preflight"
	"kedge/pkg/pki"
	"kedge/pkg/process"
	"kedge/pkg/status"
	"kedge/pkg/version"
)

// server holds what the parts share. It is complete before the first of them starts, except for what the first steps find out: cfg is
// completed by the one that joins a cluster, which sets membership, and certificates and state are set by those that make them.
type server struct {
	cfg          *config.Config
	adopt        config.Adopt
	log          *slog.Logger
	facts        machine.Facts
	started      time.Time
	recorder     *status.Recorder
	certificates *pki.Store
	node         *agent.Agent
	membership   *membership // nil on the first server of a cluster
	state        *datastore.Datastore
}

// Run runs a server until ctx ends or a part of it cannot go on.
func Run(ctx context.Context, cfg *config.Config, adopt config.Adopt, log *slog.Logger) error {
	s := &server{cfg: cfg, adopt: adopt, log: log, started: time.Now(), recorder: status.NewRecorder(version.Components())}
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("start server: kedge runs as user %d; it needs root, for containers and their network", uid)
	}
	notify := process.TakeNotifySocket()
	held, err := lock.Acquire(cfg.Layout.Lock(), "kedge server")
	if err != nil {
		return fmt.Errorf("lock data directory: %w", err)
	}
	defer held.Release() //nolint:errcheck // the kernel releases it with the process
	if s.facts, err = machine.Detect(ctx); err != nil {
		return fmt.Errorf("examine machine: %w", err)
	}
	process.StartMemory(s.facts.MemoryBytes)
	logging.Bridge(log)
	defer context.AfterFunc(ctx, func() { logging.Stopping(log) })()
	log.Info("kedge server starts", "version", version.Version, "kubernetes", version.Kubernetes(), "node", cfg.NodeName,
		"addresses", cfg.NodeIPs, "dataDir", cfg.Layout.DataDir)
	if cfg.ClusterReset {
		return s.resetCluster(ctx)
	}
	err = lifecycle.Run(ctx, s.parts(), log, s.recorder.Observe, func() {
		took := time.Since(s.started)
		s.recorder.SetReady(took)
		log.Info("node is ready", "node", cfg.NodeName, "seconds", fmt.Sprintf("%.1f", took.Seconds()), "kubeconfig", cfg.WriteKubeconfig)
		if err := notify("READY=1"); err != nil {
			log.Warn("service manager could not be notified", "error", err)
		}
	})
	if err == nil {
		log.Info("kedge stopped; containers run on", "node", cfg.NodeName)
	}
	return err
}

// parts is the order of the start; the stop is the reverse. The container runtime needs nothing of the control plane
// and starts beside it.
func (s *server) parts() lifecycle.Component {
	s.node = agent.New(agent.Options{Config: s.cfg, Facts: s.facts, Recorder: s.recorder, Log: s.log})
	return lifecycle.Sequence("server",
		status.Server(s.cfg.Layout.StatusSocket(), s.report, s.log),
		lifecycle.Step("preflight", s.preflight),
		lifecycle.Step("join", s.joinCluster),
		lifecycle.Step("certificates", s.makeCertificates),
		lifecycle.Step("members", s.openDatastore),
		lifecycle.Parallel("foundation",
			lifecycle.Sequence("api", s.datastore(), s.apiserver()),
			s.runtime(),
		),
		lifecycle.Parallel("cluster",
			lifecycle.Sequence("members", s.addons(), s.approver()), // whose rights are among the add-ons
			s.servers(),
			s.prune(),
			lifecycle.Deferred("certificates renewal", func() (lifecycle.Component, error) { return pki.Renewer(s.certificates), nil }),
			// The kubelet comes after the controllers are built; embedded/controllermanager says why.
			lifecycle.Sequence("controllers and node", s.controllers(), s.workloads()),
			process.ComeToRest(s.log),
		),
	)
}

func (s *server) runtime() lifecycle.Component {
	if s.cfg.DisableAgent {
		return lifecycle.Parallel("no node")
	}
	return s.node.Runtime()
}

func (s *server) workloads() lifecycle.Component {
	if s.cfg.DisableAgent {
		return lifecycle.Parallel("no node")
	}
	return lifecycle.Sequence("node of a server", s.node.Workloads(), lifecycle.Step("role", s.markNode))
}

// preflight examines the machine and prepares it, before anything is written to the data directory.
func (s *server) preflight(ctx context.Context) error {
	c := s.cfg
	address := ""
	if !c.BindAddress.IsUnspecified() {
		address = c.BindAddress.String()
	}
	if _, err := registries.Load(c.RegistriesFile); err != nil {
		return err
	}
	return preflight.Run(ctx, preflight.Options{
		Layout: c.Layout, Facts: s.facts, Log: s.log, Port: c.HTTPSListenPort, BindAddress: address,
		Overlay: c.OverlayBackend, ProxyMode: c.ProxyMode, DisableAgent: c.DisableAgent,
	})
}

// makeCertificates makes what is missing and checks what is there.
func (s *server) makeCertificates(ctx context.Context) error {
	store, err := pki.Ensure(ctx, pki.Options{
		ServerDir: s.cfg.Layout.ServerTLS(),
		AgentDir:  s.cfg.Layout.AgentTLS(),
		Log:       s.log,
		Leaves: pki.ServerLeaves(pki.Params{
			NodeName:            s.cfg.NodeName,
			NodeIPs:             s.cfg.NodeIPs,
			ServiceIPs:          s.cfg.FirstServiceIPs(),
			ClusterDomain:       s.cfg.ClusterDomain,
			TLSSANs:             s.cfg.TLSSANs,
			APIServer:           s.localURL(),
			AdminKubeconfig:     s.cfg.WriteKubeconfig,
			AdminKubeconfigMode: s.cfg.WriteKubeconfigMode,
		}),
	})
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	s.certificates = store
	s.node.SetCredentials(agent.Credentials{
		Kubeconfig: store.KubeconfigFile(pki.KubeletClient),
		TLSCert:    store.CertFile(pki.KubeletServer),
		TLSKey:     store.KeyFile(pki.KubeletServer),
		ClientCA:   store.NodeCAFile(),
	})
	return nil
}

// localURL is how the parts of this process reach the API server.
func (s *server) localURL() string {
	host := "127.0.0.1"
	if b := s.cfg.BindAddress; b.IsValid() && !b.IsUnspecified() {
		host = b.String()
		if b.Is6() {
			host = "[" + host + "]"
		}
	}
	return fmt.Sprintf("https://%s:%d", host, s.cfg.HTTPSListenPort)
}

// report is what `kedge status` shows.
func (s *server) report(context.Context) *status.Report {
	r := &status.Report{
		Version: version.Version, Kubernetes: version.Kubernetes(), Role: string(s.cfg.Role), PID: os.Getpid(), Started: s.started,
		Datastore: "etcd, embedded, " + s.cfg.Layout.EtcdDir(),
	}
	s.reportMembers(r)
	s.recorder.Fill(r)
	if s.certificates != nil {
		infos, err := s.certificates.List()
		if err != nil {
			s.log.Warn("certificates could not be listed", "error", err)
		}
		for _, i := range infos {
			r.Certificates = append(r.Certificates, status.Certificate{Name: i.Name, NotAfter: i.NotAfter, RenewAt: i.RenewAt, Problem: i.Problem})
		}
	}
	r.Judge(time.Now())
	return r
}
