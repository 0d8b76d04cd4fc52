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

// usage is what a process has taken so far, with the programs that it has called: CPU in seconds, memory in MB.
type usage struct{ cpu, resident, anonymous float64 }

// userHZ is the unit of times in /proc/PID/stat (proc(5)); Linux has no other on amd64 and arm64.
const userHZ = 100

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

func (p *process) usage() (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		return usage{}, fmt.Errorf("read CPU time: %w", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		return usage{}, fmt.Errorf("read memory: %w", err)
	}
	var u usage
	_, rest, _ := strings.Cut(string(stat), ") ") // from the third field on
	for i, field := range strings.Fields(rest) {
		var ticks float64
		if _, err := fmt.Sscan(field, &ticks); err == nil && i >= 11 && i <= 14 { // utime, stime, cutime, cstime
			u.cpu += ticks / userHZ
		}
	}
	for line := range strings.Lines(string(status)) {
		var kB float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kB); err == nil {
			u.resident = kB / 1000
		} else if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kB); err == nil {
			u.anonymous = kB / 1000
		}
	}
	return u, nil
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
