package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"kedge/pkg/balancer"
	"kedge/pkg/config"
	"kedge/pkg/cri/registries"
	"kedge/pkg/join"
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

// role is a process that is a node and nothing else. The certificates are known after the step that joins.
type role struct {
	cfg          *config.Config // as far as it is known without the cluster
	adopt        config.Adopt
	log          *slog.Logger
	facts        machine.Facts
	started      time.Time
	recorder     *status.Recorder
	balancer     *balancer.Balancer
	certificates *pki.Store
	node         *Agent
}

// Run runs an agent until ctx ends or a part of it cannot go on.
func Run(ctx context.Context, cfg *config.Config, adopt config.Adopt, log *slog.Logger) error {
	r := &role{cfg: cfg, adopt: adopt, log: log, started: time.Now(), recorder: status.NewRecorder(version.Components())}
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("start agent: kedge runs as user %d; it needs root, for containers and their network", uid)
	}
	notify := process.TakeNotifySocket()
	held, err := lock.Acquire(cfg.Layout.Lock(), "kedge agent")
	if err != nil {
		return fmt.Errorf("lock data directory: %w", err)
	}
	defer held.Release() //nolint:errcheck // the kernel releases it with the process
	if r.facts, err = machine.Detect(ctx); err != nil {
		return fmt.Errorf("examine machine: %w", err)
	}
	process.StartMemory(r.facts.MemoryBytes)
	logging.Bridge(log)
	defer context.AfterFunc(ctx, func() { logging.Stopping(log) })()
	log.Info("kedge agent starts", "version", version.Version, "kubernetes", version.Kubernetes(), "node", cfg.NodeName,
		"addresses", cfg.NodeIPs, "dataDir", cfg.Layout.DataDir, "server", cfg.Server)
	if r.balancer, err = r.newBalancer(); err != nil {
		return err
	}
	err = lifecycle.Run(ctx, r.parts(), log, r.recorder.Observe, func() {
		took := time.Since(r.started)
		r.recorder.SetReady(took)
		log.Info("node is ready", "node", cfg.NodeName, "seconds", fmt.Sprintf("%.1f", took.Seconds()), "server", cfg.Server)
		if err := notify("READY=1"); err != nil {
			log.Warn("service manager could not be notified", "error", err)
		}
	})
	if err == nil {
		log.Info("kedge stopped; containers run on", "node", cfg.NodeName)
	}
	return err
}

// parts is the order of the start; the stop is the reverse.
func (r *role) parts() lifecycle.Component {
	r.node = New(Options{Config: r.cfg, Facts: r.facts, Recorder: r.recorder, Log: r.log, Servers: r.balancer})
	return lifecycle.Sequence("agent",
		status.Server(r.cfg.Layout.StatusSocket(), r.report, r.log),
		lifecycle.Step("preflight", r.preflight),
		r.balancer,
		lifecycle.Step("join", r.join),
		lifecycle.Step("servers", r.meetServers),
		r.node.Runtime(),
		lifecycle.Parallel("cluster",
			lifecycle.Deferred("certificates renewal", func() (lifecycle.Component, error) { return pki.Renewer(r.certificates), nil }),
			lifecycle.Deferred("tunnel", r.newTunnel),
			r.node.Workloads(),
			process.ComeToRest(r.log),
		),
	)
}

// preflight examines the machine and prepares it, before anything is written to the data directory.
func (r *role) preflight(ctx context.Context) error {
	if _, err := os.Stat(r.cfg.Layout.ServerTLS()); err == nil {
		return fmt.Errorf("look for a server: %s holds a server's authorities, so this machine is a server: start kedge server, "+
			"or take the machine out of its cluster with kedge reset first", r.cfg.Layout.ServerTLS())
	}
	if _, err := registries.Load(r.cfg.RegistriesFile); err != nil {
		return err
	}
	return preflight.Run(ctx, preflight.Options{
		Layout: r.cfg.Layout, Facts: r.facts, Log: r.log, Overlay: r.cfg.OverlayBackend, ProxyMode: r.cfg.ProxyMode,
	})
}

// join gets the machine's identity, the cluster's values and the kubelet's certificate, in this order: the addresses of the
// node depend on the families that the cluster has.
func (r *role) join(ctx context.Context) error {
	member, err := join.Identify(ctx, join.Options{
		Server: r.cfg.Server, APIServer: "https://" + localAPIServer, Token: r.token, NodeName: r.cfg.NodeName, Dir: r.cfg.Layout.AgentTLS(), Log: r.log,
	})
	if err != nil {
		return err
	}
	shared, err := member.Shared(ctx)
	if err != nil {
		return err
	}
	full, err := r.adopt(shared)
	if err != nil {
		return fmt.Errorf("take over the cluster's configuration: %w", err)
	}
	if r.certificates, err = member.Serving(ctx, full.NodeIPs); err != nil {
		return err
	}
	r.node.Config = full
	r.node.SetCredentials(Credentials{
		Kubeconfig: r.certificates.KubeconfigFile(pki.KubeletClient),
		TLSCert:    r.certificates.CertFile(pki.KubeletServer),
		TLSKey:     r.certificates.KeyFile(pki.KubeletServer),
		ClientCA:   r.certificates.NodeCAFile(),
	})
	return nil
}

// token returns the token's text, empty when none was given.
func (r *role) token() (string, error) {
	if r.cfg.Token != "" || r.cfg.TokenFile == "" {
		return r.cfg.Token, nil
	}
	text, err := os.ReadFile(r.cfg.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", errors.New("read token: " + r.cfg.TokenFile + " is empty")
	}
	return string(text), nil
}

// report is what `kedge status` shows.
func (r *role) report(context.Context) *status.Report {
	out := &status.Report{
		Version: version.Version, Kubernetes: version.Kubernetes(), Role: string(r.cfg.Role), PID: os.Getpid(), Started: r.started,
	}
	r.recorder.Fill(out)
	infos, err := pki.ListDir("", r.cfg.Layout.AgentTLS(), time.Now())
	if err != nil {
		r.log.Warn("certificates could not be listed", "error", err)
	}
	for _, i := range infos {
		out.Certificates = append(out.Certificates, status.Certificate{Name: i.Name, NotAfter: i.NotAfter, RenewAt: i.RenewAt, Problem: i.Problem})
	}
	out.Judge(time.Now())
	return out
}
