package logging

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
)

// sources maps the packages of Kubernetes to the component that runs them; the longest prefix wins because the
// table is ordered. What several components share is reported as kubernetes.
func sources() [][2]string {
	return [][2]string{
		{"k8s.io/kubernetes/pkg/kubelet", "kubelet"},
		{"k8s.io/kubernetes/cmd/kubelet", "kubelet"},
		{"k8s.io/kubernetes/pkg/volume", "kubelet"},
		{"k8s.io/cri-client", "kubelet"},
		{"github.com/google/cadvisor", "kubelet"},
		{"k8s.io/kubernetes/pkg/scheduler", "scheduler"},
		{"k8s.io/kubernetes/cmd/kube-scheduler", "scheduler"},
		{"k8s.io/kubernetes/pkg/controller/", "controller-manager"},
		{"k8s.io/kubernetes/cmd/kube-controller-manager", "controller-manager"},
		{"k8s.io/controller-manager", "controller-manager"},
		{"k8s.io/kubernetes/pkg/proxy", "proxy"},
		{"k8s.io/apiserver", "apiserver"},
		{"k8s.io/kube-aggregator", "apiserver"},
		{"k8s.io/apiextensions-apiserver", "apiserver"},
		{"k8s.io/kubernetes/pkg/controlplane", "apiserver"},
		{"k8s.io/kubernetes/pkg/registry", "apiserver"},
		{"k8s.io/kubernetes/plugin", "apiserver"},
		{"k8s.io/kubernetes/cmd/kube-apiserver", "apiserver"},
	}
}

// upstream is a slog.Handler that demotes records and names the component from the place that logged.
type upstream struct {
	next     slog.Handler
	table    [][2]string
	named    bool         // a component is attached already
	stopping *atomic.Bool // nil in streams that were not made by New
}

// expected are beginnings of messages that upstream programs write as warnings or errors at every start, before what they
// wait for is there, or that kedge says itself. They say nothing about the machine and are debug output.
func expected() []string {
	return []string{
		"The manifest file is empty, ignoring.",
		"Failed to ensure lease exists, will retry",
		"Error while syncing ConfigMap",
		"Error getting the current node from lister",
		"Unable to register mirror pod because node is not registered yet",
		"Image garbage collection failed once.",
		"Skipping pod synchronization",
		"Error updating node status, will retry",
		"Failed to get node when trying to set owner ref to the node lease",
		"Failed to read data from checkpoint",
		"eviction manager: failed to check if we have separate container filesystem",
		"Eviction manager: failed to get summary stats",
		"failed to update storage version",
		"Failed to detect schema version",
		"failed to load cni during init",
		"failed to reload cni configuration after receiving fs change event(WRITE",
		"failed check for fsverity support",
		"Running http and grpc server on single port.",
		"simple token is not cryptographically signed",
		"watch chan error: etcdserver: no leader", // hundreds a second; embedded/etcd says it once
	}
}

// Upstream returns a logger for code of other projects, which names the component by the caller's package.
func Upstream(log *slog.Logger) *slog.Logger {
	return slog.New(upstream{next: log.Handler(), table: sources(), stopping: stoppingOf(log)})
}

// UpstreamFor is Upstream with a fixed component.
func UpstreamFor(log *slog.Logger, component string) *slog.Logger {
	named := log.Handler().WithAttrs([]slog.Attr{slog.String("component", component)})
	return slog.New(upstream{next: named, named: true, stopping: stoppingOf(log)})
}

func (u upstream) Enabled(ctx context.Context, l slog.Level) bool {
	return u.next.Enabled(ctx, demote(l))
}

func (u upstream) Handle(ctx context.Context, r slog.Record) error {
	level := demote(r.Level)
	if u.stopping != nil && u.stopping.Load() || slices.ContainsFunc(expected(), func(e string) bool { return strings.HasPrefix(r.Message, e) }) {
		level = min(level, slog.LevelDebug)
	}
	if !u.next.Enabled(ctx, level) {
		return nil
	}
	out := slog.NewRecord(r.Time, level, oneLine(r.Message), r.PC)
	if !u.named {
		out.AddAttrs(slog.String("component", u.component(r.PC)))
	}
	r.Attrs(func(a slog.Attr) bool { out.AddAttrs(a); return true })
	return u.next.Handle(ctx, out)
}

func (u upstream) WithAttrs(attrs []slog.Attr) slog.Handler {
	u.next = u.next.WithAttrs(attrs)
	return u
}

func (u upstream) WithGroup(name string) slog.Handler {
	u.next = u.next.WithGroup(name)
	return u
}

func (u upstream) component(pc uintptr) string {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return source(u.table, frame.Function)
}

func source(table [][2]string, function string) string {
	for _, s := range table {
		if strings.HasPrefix(function, s[0]) {
			return s[1]
		}
	}
	return "kubernetes"
}
