package logging

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"
)

// Bridge sends the process-wide loggers of embedded programs to log: klog, logrus, gRPC and the standard logger.
// It must be called once, before the first of them starts.
func Bridge(logger *slog.Logger) {
	BridgeKlog(logger)
	bridgeLogrus(logger)
	std := &lineWriter{log: UpstreamFor(logger, "process")}
	log.SetFlags(0)
	log.SetOutput(std)
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, &lineWriter{log: UpstreamFor(logger, "grpc")}))
}

// BridgeKlog sends klog's records to log. It may be called again, for example after other code has set klog's logger.
func BridgeKlog(logger *slog.Logger) { klog.SetSlogLogger(Upstream(logger)) }

// bridgeLogrus forwards what containerd and kine report.
func bridgeLogrus(logger *slog.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.SetFormatter(nothing{})
	level := logrus.WarnLevel
	if logger.Enabled(context.Background(), slog.LevelDebug) {
		level = logrus.InfoLevel
	}
	logrus.SetLevel(level)
	logrus.AddHook(logrusHook{UpstreamFor(logger, "containerd")})
}

// nothing spares the cost of a text that is thrown away.
type nothing struct{}

func (nothing) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

type logrusHook struct{ log *slog.Logger }

func (logrusHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h logrusHook) Fire(e *logrus.Entry) error {
	level := slog.LevelInfo
	switch e.Level {
	case logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel:
		level = slog.LevelError
	case logrus.WarnLevel:
		level = slog.LevelWarn
	case logrus.DebugLevel, logrus.TraceLevel:
		level = slog.LevelDebug
	}
	return forward(e.Context, h.log, level, e.Message, attributes(e.Data)...)
}

// lineWriter logs each line that is written to it. CoreDNS and net/http report through the standard logger;
// CoreDNS puts the level in brackets in front.
type lineWriter struct{ log *slog.Logger }

func (w *lineWriter) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	level, component := slog.LevelWarn, ""
	for prefix, l := range map[string]slog.Level{
		"[INFO] ": slog.LevelInfo, "[WARNING] ": slog.LevelWarn, "[ERROR] ": slog.LevelError, "[DEBUG] ": slog.LevelDebug,
	} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			text, level, component = rest, l, "dns"
		}
	}
	switch {
	case text == "":
		return len(p), nil
	case component != "":
		return len(p), forward(context.Background(), w.log, level, text, "source", component)
	}
	return len(p), forward(context.Background(), w.log, level, text)
}

// attributes puts named values in the order of their names.
func attributes(values map[string]any) []any {
	attrs := make([]any, 0, 2*len(values))
	for _, k := range slices.Sorted(maps.Keys(values)) {
		attrs = append(attrs, k, values[k])
	}
	return attrs
}

// forward logs a message that another program wrote: unlike kedge's own, it is not constant.
func forward(ctx context.Context, log *slog.Logger, level slog.Level, message string, attrs ...any) error {
	if ctx == nil { // logrus has none unless it was given one
		ctx = context.Background()
	}
	if !log.Enabled(ctx, level) {
		return nil
	}
	record := slog.NewRecord(time.Now(), level, message, 0)
	record.Add(attrs...)
	if err := log.Handler().Handle(ctx, record); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}
