package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is the measured proxy.
type process struct {
	*exec.Cmd
	ended chan struct{}
	dir   string
}

// start runs what the plan names, which is kedge-MODE or kube-proxy-MODE.
func (b *bench) start(ctx context.Context) (*process, error) {
	dir, err := os.MkdirTemp("", "kedge-bench-proxy-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	var cmd *exec.Cmd
	if mode, ok := strings.CutPrefix(b.Subject, "kube-proxy-"); ok {
		config := filepath.Join(dir, "config.yaml")
		if err := b.configure(dir, config, mode); err != nil {
			return nil, err
		}
		cmd = exec.CommandContext(ctx, b.KubeProxy, "--config", config)
	} else if mode, ok := strings.CutPrefix(b.Subject, "kedge-"); ok {
		cmd = exec.CommandContext(ctx, "/proc/self/exe", "-as-proxy", mode, "-server", b.server)
	} else {
		return nil, fmt.Errorf("measure %q: it is neither kedge-MODE nor kube-proxy-MODE", b.Subject)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, fmt.Errorf("write log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	if b.Verbose {
		cmd.Stderr = os.Stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", b.Subject, err)
	}
	p := &process{cmd, make(chan struct{}), dir}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process. If it had ended before, its log tells why.
func (p *process) stop() {
	select {
	case <-p.ended:
		if log, err := os.Open(filepath.Join(p.dir, "log")); err == nil {
			_, _ = io.Copy(os.Stderr, log)
			_ = log.Close()
		}
	default:
		_ = p.Process.Signal(unix.SIGKILL)
		<-p.ended
	}
	_ = os.RemoveAll(p.dir)
}

// configure writes what kube-proxy reads. Everything is as it is by default but for addresses, and what needs kernel parameters
// that a network namespace does not have.
func (b *bench) configure(dir, config, mode string) error {
	kubeconfig := filepath.Join(dir, "kubeconfig")
	files := map[string]string{
		kubeconfig: `apiVersion: v1
kind: Config
clusters: [{name: bench, cluster: {server: "` + b.server + `"}}]
contexts: [{name: bench, context: {cluster: bench}}]
current-context: bench
`,
		config: `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ` + mode + `
clientConnection: {kubeconfig: "` + kubeconfig + `"}
clusterCIDR: ` + podCIDR + `
detectLocalMode: ClusterCIDR
hostnameOverride: ` + nodeName + `
oomScoreAdj: 0
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure kube-proxy: %w", err)
		}
	}
	return nil
}
