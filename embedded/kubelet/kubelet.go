// Package kubelet runs the kubelet inside the process. It is the only package that imports its server.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/validation"

	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
)

// Config of the kubelet. Args, CSI, Labels, Taints and ResolvConf are optional, all else is required.
type Config struct {
	NodeName      string
	NodeIPs       []string
	Labels        []string // key=value
	Taints        []string // key=value:effect
	Root          string   // volumes, pods and plug-ins
	PodLogs       string   // directory of the containers' logs
	StaticPods    string   // directory of static pod manifests
	Socket        string   // containerd's
	Kubeconfig    string
	TLSCert       string
	TLSKey        string
	ClientCA      string
	ClusterDNS    []string
	ClusterDomain string
	ResolvConf    string // the host's resolver file for pods; empty: none
	CgroupDriver  string // cgroupfs or systemd
	OOMScoreAdj   int32

	Args []config.Arg // the user's flags, which win
	CSI  *CSI         // set in a process with controllers, see there
	Log  *slog.Logger
}

// New returns the kubelet as a component. It is ready as soon as it runs: whether the node is ready is known by
// its Node object.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("kubelet", func(ctx context.Context, ready func()) error { return run(ctx, c, ready) })
}

func run(ctx context.Context, c Config, ready func()) error {
	server, err := c.server()
	if err != nil {
		return err
	}
	deps, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return fmt.Errorf("build dependencies: %w", err)
	}
	if c.CSI != nil {
		deps.VolumePlugins = c.CSI.watch(deps.VolumePlugins)
	}
	ready()
	err = app.Run(ctx, server, deps, utilfeature.DefaultFeatureGate)
	if err != nil && ctx.Err() == nil { // a start that is called off fails with whatever was under way
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

func (c Config) server() (*options.KubeletServer, error) {
	flags := options.NewKubeletFlags()
	cfg, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, fmt.Errorf("build default configuration: %w", err)
	}
	c.apply(cfg)
	fs := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	fs.SetOutput(io.Discard) // most flags are deprecated in favour of a file, which nobody has to be told here
	flags.AddFlags(fs)
	options.AddKubeletConfigFlags(fs, cfg)
	if err := fs.Parse(c.flags()); err != nil {
		return nil, fmt.Errorf("parse --kubelet-arg: %w", err)
	}
	if flags.KubeletConfigFile != "" || flags.KubeletDropinConfigDirectory != "" {
		return nil, errors.New("parse --kubelet-arg: config and config-dir are not read; give each setting as a flag of the kubelet's")
	}
	if cfg.SerializeImagePulls { // there is no flag for the other value, and they contradict each other
		cfg.MaxParallelImagePulls = nil
	}
	// The feature gates are process-wide and have been set with the API server's, if there is one here.
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(cfg.FeatureGates); err != nil {
		return nil, fmt.Errorf("set feature gates: %w", err)
	}
	if err := options.ValidateKubeletFlags(flags); err != nil {
		return nil, fmt.Errorf("validate flags: %w", err)
	}
	if err := validation.ValidateKubeletConfiguration(cfg, utilfeature.DefaultFeatureGate); err != nil {
		return nil, fmt.Errorf("validate configuration: %w", err)
	}
	return &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *cfg}, nil
}

// apply sets what differs from the kubelet's own defaults. Those of the typed configuration allow every request
// (they come from a time before authorization); here nobody is let in without the API server's consent.
func (c Config) apply(k *kubeletconfig.KubeletConfiguration) {
	k.Authentication.Anonymous.Enabled = false
	k.Authentication.Webhook.Enabled = true
	k.Authentication.X509.ClientCAFile = c.ClientCA
	k.Authorization.Mode = kubeletconfig.KubeletAuthorizationModeWebhook
	k.ReadOnlyPort = 0
	k.TLSCertFile, k.TLSPrivateKeyFile = c.TLSCert, c.TLSKey

	k.ContainerRuntimeEndpoint = "unix://" + c.Socket
	k.CgroupDriver = c.CgroupDriver
	k.CgroupRoot = "/"
	k.FailCgroupV1 = false
	k.FailSwapOn = false
	k.OOMScoreAdj = c.OOMScoreAdj
	k.MakeIPTablesUtilChains = false // kedge has no iptables; masquerading is done in its own table
	k.ClusterDNS, k.ClusterDomain = c.ClusterDNS, c.ClusterDomain
	k.ResolverConfig = c.ResolvConf
	k.StaticPodPath = c.StaticPods
	k.PodLogsDir = c.PodLogs
	k.VolumePluginDir = c.Root + "/volumeplugins" // the default is below /usr, which may be read-only
	k.SerializeImagePulls = false
	k.MaxParallelImagePulls = new(int32(2))
	// Small disks: the defaults of 10 and 15 per cent are gigabytes that nobody may use.
	k.EvictionHard = map[string]string{"memory.available": "100Mi", "nodefs.available": "5%", "imagefs.available": "5%", "nodefs.inodesFree": "5%"}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Max < uint64(k.MaxOpenFiles) {
		k.MaxOpenFiles = int64(limit.Max) // without CAP_SYS_RESOURCE it cannot be raised
	}
	k.RuntimeRequestTimeout = metav1.Duration{Duration: 2 * time.Minute}
}

func (c Config) flags() []string {
	args := []string{
		"--kubeconfig=" + c.Kubeconfig,
		"--hostname-override=" + c.NodeName,
		"--node-ip=" + strings.Join(c.NodeIPs, ","),
		"--root-dir=" + c.Root,
		"--cert-dir=" + c.Root + "/pki",
	}
	if len(c.Labels) > 0 {
		args = append(args, "--node-labels="+strings.Join(c.Labels, ","))
	}
	if len(c.Taints) > 0 {
		args = append(args, "--register-with-taints="+strings.Join(c.Taints, ","))
	}
	for _, a := range c.Args {
		args = append(args, "--"+a.String())
	}
	return args
}
