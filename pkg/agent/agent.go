package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"kedge/embedded/coredns"
	"kedge/embedded/kubelet"
	"kedge/pkg/balancer"
	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/network/cni"
	"kedge/pkg/network/dns"
	"kedge/pkg/node/machine"
	"kedge/pkg/status"
)

// Options of a node. All fields but Servers are required.
type Options struct {
	Config   *config.Config
	Facts    machine.Facts
	Recorder *status.Recorder
	Log      *slog.Logger
	Servers  *balancer.Balancer // is told of the cluster's API servers; nil on a server, which has its own
}

// Credentials are the files of the node's identity, system:node:NAME.
type Credentials struct {
	Kubeconfig string
	TLSCert    string // kubelet's serving certificate
	TLSKey     string
	ClientCA   string // who may connect to the kubelet
}

// Agent is the node of a process. Its components may be listed before the credentials are known; they start after.
type Agent struct {
	Options
	credentials Credentials
	csi         kubelet.CSI
	network     *cni.Network
	networkUp   chan struct{}              // closed when the node's part of the pod network is set up
	informers   func() (*informers, error) // the same for all callers
}

// New returns the node that options describe.
func New(o Options) *Agent {
	a := &Agent{Options: o, networkUp: make(chan struct{})}
	a.informers = sync.OnceValues(a.newInformers)
	return a
}

// SetCredentials must be called before Workloads starts.
func (a *Agent) SetCredentials(c Credentials) { a.credentials = c }

// ReclaimCSI must be called when controllers have been built in the process; embedded/kubelet says why.
func (a *Agent) ReclaimCSI() error {
	if err := a.csi.Reclaim(); err != nil {
		return fmt.Errorf("keep CSI with the kubelet: %w", err)
	}
	return nil
}

// Runtime unpacks the payload and runs containerd. It needs no API server.
func (a *Agent) Runtime() lifecycle.Component {
	return lifecycle.Sequence("runtime",
		lifecycle.Step("payload", a.unpack),
		lifecycle.Deferred("registries", a.registries),
		lifecycle.Deferred("containerd", a.containerd),
		lifecycle.Step("pause image", a.importPause),
	)
}

// Workloads runs what makes the machine a node. It needs the runtime, the credentials and an API server.
// It is ready when the node is.
func (a *Agent) Workloads() lifecycle.Component {
	return lifecycle.Sequence("workloads", lifecycle.Deferred("pod network", a.podNetwork), lifecycle.Parallel("pods",
		a.watches(),
		a.servers(),
		a.images(),
		lifecycle.Deferred("kubelet", a.kubelet),
		a.nameServer(),
		a.overlay(),
		a.services(),
		lifecycle.Func("node", a.follow),
	))
}

// nameServer answers on the cluster DNS address, which the pod network puts on the host.
func (a *Agent) nameServer() lifecycle.Component {
	if a.Config.Disabled("coredns") {
		return lifecycle.Parallel("no DNS")
	}
	corefiles := make(chan string)
	return lifecycle.Parallel("name server",
		lifecycle.Deferred("resolvers", func() (lifecycle.Component, error) {
			return a.dns().Watch(corefiles, logging.For(a.Log, "dns")), nil
		}),
		lifecycle.Func("dns", func(ctx context.Context, ready func()) error {
			select {
			case <-a.networkUp:
				return coredns.New(coredns.Config{Corefiles: corefiles, Log: a.Log}).Run(ctx, ready)
			case <-ctx.Done():
				return nil
			}
		}),
	)
}

func (a *Agent) dns() dns.Config {
	c := a.Config
	return dns.Config{Addresses: c.ClusterDNS, Domain: c.ClusterDomain, Kubeconfig: a.credentials.Kubeconfig}
}

func (a *Agent) kubelet() (lifecycle.Component, error) {
	c, l := a.Config, a.Config.Layout
	logs := filepath.Join(l.DataDir, "agent", "logs")
	if l.DataDir == config.DefaultDataDir {
		logs = "/var/log/pods"
	}
	static := filepath.Join(l.DataDir, "agent", "pod-manifests")
	for _, dir := range []string{logs, static, l.KubeletDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create directory: %w", err)
		}
	}
	oom := int32(-999)
	if a.Facts.RestrictOOMScoreAdj {
		oom = 0
	}
	return kubelet.New(kubelet.Config{
		NodeName: c.NodeName, NodeIPs: texts(c.NodeIPs), Labels: c.NodeLabels, Taints: c.NodeTaints,
		Root: l.KubeletDir, PodLogs: logs, StaticPods: static, Socket: l.ContainerdSocket(),
		Kubeconfig: a.credentials.Kubeconfig, TLSCert: a.credentials.TLSCert, TLSKey: a.credentials.TLSKey, ClientCA: a.credentials.ClientCA,
		ClusterDNS: texts(c.ClusterDNS), ClusterDomain: c.ClusterDomain, ResolvConf: dns.PodResolvConf(),
		CgroupDriver: a.Facts.CgroupDriver, OOMScoreAdj: oom, Args: c.KubeletArgs, CSI: &a.csi, Log: a.Log,
	}), nil
}

func texts(addresses []netip.Addr) []string {
	out := make([]string, 0, len(addresses))
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}
