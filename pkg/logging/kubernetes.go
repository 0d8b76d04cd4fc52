package logging

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
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
	next  slog.Handler
	table [][2]string
	named bool // a component is attached already
}

// Upstream returns a logger for code of other projects, which names the component by the caller's package.
func Upstream(log *slog.Logger) *slog.Logger {
	return slog.New(upstream{next: log.Handler(), table: sources()})
}

// UpstreamFor is Upstream with a fixed component.
func UpstreamFor(log *slog.Logger, component string) *slog.Logger {
	return slog.New(upstream{next: log.Handler().WithAttrs([]slog.Attr{slog.String("component", component)}), named: true})
}

func (u upstream) Enabled(ctx context.Context, l slog.Level) bool {
	return u.next.Enabled(ctx, demote(l))
}

func (u upstream) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, demote(r.Level), oneLine(r.Message), r.PC)
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
	for _, s := range u.table {
		if strings.HasPrefix(frame.Function, s[0]) {
			return s[1]
		}
	}
	return "kubernetes"
}
