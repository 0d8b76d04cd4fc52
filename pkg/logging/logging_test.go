package logging

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// capture returns a logger and what it has written since the last question, without the time.
func capture(level slog.Level) (log *slog.Logger, written func() string) {
	var b bytes.Buffer
	noTime := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	log = slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level, ReplaceAttr: noTime}))
	return log, func() string { defer b.Reset(); return b.String() }
}

func expect(t *testing.T, written func() string, want string) {
	t.Helper()
	if diff := cmp.Diff(want, written()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct{ level, format, err string }{
		{"info", "text", ""},
		{"DEBUG", "json", ""},
		{"loud", "text", `parse log level "loud": want debug, info, warn or error`},
		{"info", "xml", `parse log format "xml": want text or json`},
	} {
		got := ""
		if _, err := New(&bytes.Buffer{}, c.level, c.format); err != nil {
			got = err.Error()
		}
		if got != c.err {
			t.Errorf("New(%s, %s): error %q, want %q", c.level, c.format, got, c.err)
		}
	}
}

func TestDemotion(t *testing.T) {
	log, written := capture(slog.LevelDebug)
	up := UpstreamFor(log, "etcd")
	up.Error("broken", "n", 1)
	up.Warn("strange")
	up.Info("two\nlines\n")
	up.Debug("below debug")
	expect(t, written, `level=WARN msg=broken component=etcd n=1
level=INFO msg=strange component=etcd
level=DEBUG msg="two; lines" component=etcd
`)
	info, written := capture(slog.LevelInfo)
	up = UpstreamFor(info, "etcd").With("member", "a").WithGroup("g")
	up.Info("below information")
	up.Warn("strange", "n", 1)
	expect(t, written, "level=INFO msg=strange component=etcd member=a g.n=1\n")
	if ctx := context.Background(); up.Enabled(ctx, slog.LevelInfo) || !up.Enabled(ctx, slog.LevelWarn) {
		t.Error("levels are not moved down by one")
	}
}

func TestSources(t *testing.T) {
	for function, want := range map[string]string{
		"k8s.io/kubernetes/pkg/kubelet/cm.(*manager).Start":                "kubelet",
		"k8s.io/kubernetes/pkg/volume/secret.go":                           "kubelet",
		"k8s.io/kubernetes/pkg/scheduler.New":                              "scheduler",
		"k8s.io/kubernetes/pkg/controller/job.sync":                        "controller-manager",
		"k8s.io/kubernetes/cmd/kube-controller-manager/app.Run":            "controller-manager",
		"k8s.io/kubernetes/pkg/controlplane/controller/crdregistration.go": "apiserver",
		"k8s.io/apiserver/pkg/server.Run":                                  "apiserver",
		"k8s.io/kubernetes/pkg/proxy.New":                                  "proxy",
		"k8s.io/client-go/tools/cache.New":                                 "kubernetes",
		"":                                                                 "kubernetes",
	} {
		if got := source(sources(), function); got != want {
			t.Errorf("%q is of %s, want %s", function, got, want)
		}
	}
}

func TestComponentByCaller(t *testing.T) {
	log, written := capture(slog.LevelInfo)
	function := func() string { pc, _, _, _ := runtime.Caller(1); return runtime.FuncForPC(pc).Name() }()
	slog.New(upstream{next: log.Handler(), table: [][2]string{{function, "this test"}}}).Error("by me")
	slog.New(upstream{next: log.Handler(), table: sources()}).Error("by another")
	expect(t, written, `level=WARN msg="by me" component="this test"
level=WARN msg="by another" component=kubernetes
`)
}

// TestQuiet: what is expected at a start, and everything during a stop, is debug output, whoever derived the logger when.
func TestQuiet(t *testing.T) {
	var b bytes.Buffer
	log, err := New(&b, "info", FormatText)
	if err != nil {
		t.Fatal(err)
	}
	up := UpstreamFor(For(log, "outer"), "kubelet").With("n", 1)
	up.Error("Skipping pod synchronization", "err", "container runtime is not up")
	if b.Len() > 0 {
		t.Errorf("expected message was logged: %s", b.String())
	}
	up.Error("other")
	if !strings.HasSuffix(b.String(), " level=WARN msg=other component=outer component=kubelet n=1\n") {
		t.Errorf("log %q", b.String())
	}
	b.Reset()
	Stopping(log)
	up.Error("connection refused")
	if b.Len() > 0 {
		t.Errorf("message during the stop was logged: %s", b.String())
	}
	log.Info("kedge's own")
	if !strings.HasSuffix(b.String(), " level=INFO msg=\"kedge's own\"\n") {
		t.Errorf("log %q", b.String())
	}
}
