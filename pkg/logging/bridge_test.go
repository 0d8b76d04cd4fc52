package logging

import (
	"errors"
	"log"
	"log/slog"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"k8s.io/klog/v2"
)

func TestZap(t *testing.T) {
	logger, written := capture(slog.LevelInfo)
	z := Zap(logger, "etcd").Named("raft").With(zap.String("member", "a"))
	z.Error("broken")
	z.Warn("strange")
	z.Info("below information")
	expect(t, written, `level=WARN msg=broken component=etcd member=a
level=INFO msg=strange component=etcd member=a
`)
	for name, end := range map[string]func(string, ...zap.Field){"fatal": z.Fatal, "panic": z.Panic} {
		func() {
			defer func() {
				if got := recover(); got != "cannot go on" {
					t.Errorf("%s: recovered %v", name, got)
				}
			}()
			end("cannot go on")
		}()
		expect(t, written, "level=WARN msg=\"cannot go on\" component=etcd member=a\n")
	}
}

func TestKlog(t *testing.T) {
	defer klog.ClearLogger()
	logger, written := capture(slog.LevelInfo)
	BridgeKlog(logger)
	klog.ErrorS(errors.New("boom"), "It broke", "pod", "a/b")
	klog.Warning("klog hands warnings over as information")
	klog.InfoS("below information")
	expect(t, written, `level=WARN msg="It broke" component=kubernetes err=boom pod=a/b
`)
	// CoreDNS takes klog over; the bridge is built again.
	klog.SetLogger(klog.NewKlogr())
	again, rewritten := capture(slog.LevelInfo)
	BridgeKlog(again)
	klog.Error("after")
	klog.Background().Error(nil, "structured")
	expect(t, written, "")
	expect(t, rewritten, `level=WARN msg=after component=kubernetes
level=WARN msg=structured component=kubernetes
`)
}

// TestKlogCaller: the place that logged is the one that names the component, whichever way klog was called.
func TestKlogCaller(t *testing.T) {
	defer klog.ClearLogger()
	logger, written := capture(slog.LevelInfo)
	klog.SetSlogLogger(slog.New(upstream{next: logger.Handler(), table: [][2]string{{"kedge/pkg/logging.TestKlogCaller", "test"}}}))
	klog.Errorf("format %d", 1)
	klog.ErrorS(nil, "structured")
	klog.Background().Error(nil, "contextual")
	klog.FromContext(t.Context()).WithName("n").Error(nil, "from context")
	expect(t, written, `level=WARN msg="format 1" component=test
level=WARN msg=structured component=test
level=WARN msg=contextual component=test
level=WARN msg="from context" component=test logger=n
`)
}

func TestLogrus(t *testing.T) {
	logger, written := capture(slog.LevelInfo)
	l := logrus.New()
	l.SetFormatter(nothing{})
	l.AddHook(logrusHook{UpstreamFor(logger, "containerd")})
	l.WithField("id", "x").WithField("address", "y").Error("broken")
	l.Warnf("strange %d", 1)
	l.WithContext(t.Context()).Info("below information")
	expect(t, written, `level=WARN msg=broken component=containerd address=y id=x
level=INFO msg="strange 1" component=containerd
`)
}

func TestLines(t *testing.T) {
	logger, written := capture(slog.LevelDebug)
	std := log.New(&lineWriter{log: UpstreamFor(logger, "process")}, "", 0)
	std.Print("[ERROR] plugin/errors: 2 example.org. A: read udp: i/o timeout")
	std.Print("[WARNING] no such zone")
	std.Print("[INFO] plugin/ready")
	std.Print("[DEBUG] below debug")
	std.Print("http: TLS handshake error\nfrom 192.0.2.1")
	std.Print("  \n")
	expect(t, written, `level=WARN msg="plugin/errors: 2 example.org. A: read udp: i/o timeout" component=process source=dns
level=INFO msg="no such zone" component=process source=dns
level=DEBUG msg=plugin/ready component=process source=dns
level=INFO msg="http: TLS handshake error; from 192.0.2.1" component=process
`)
}
