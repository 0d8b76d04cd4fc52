// Package logging makes one slog stream of all that a process of kedge says. It holds the only bridges from the
// loggers of embedded programs (klog, zap, logrus, the standard logger); everything else logs with a *slog.Logger
// that was handed to it. It imports nothing else of kedge and may be imported by every package.
//
// Upstream programs report far more than an operator of one small machine can use, and call errors what heals by
// itself. Their records are therefore moved down one level: errors become warnings, warnings become information,
// information becomes debug output. What they say below information is not written at any level of kedge's.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
)

// Formats and levels as the command line spells them.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// New returns a logger that writes to w. level is debug, info, warn or error; format is text or json.
func New(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("parse log level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case FormatText:
		return slog.New(stream{slog.NewTextHandler(w, opts), new(atomic.Bool)}), nil
	case FormatJSON:
		return slog.New(stream{slog.NewJSONHandler(w, opts), new(atomic.Bool)}), nil
	}
	return nil, fmt.Errorf("parse log format %q: want text or json", format)
}

// stream is the handler of New. It knows whether the process is stopping.
type stream struct {
	slog.Handler
	stopping *atomic.Bool
}

func (s stream) WithAttrs(attrs []slog.Attr) slog.Handler {
	return stream{s.Handler.WithAttrs(attrs), s.stopping}
}
func (s stream) WithGroup(name string) slog.Handler {
	return stream{s.Handler.WithGroup(name), s.stopping}
}

// Stopping makes debug output of all that upstream programs report from now on: while the process stops they lose each
// other one by one, and say so at length.
func Stopping(log *slog.Logger) {
	if stopping := stoppingOf(log); stopping != nil {
		stopping.Store(true)
	}
}

func stoppingOf(log *slog.Logger) *atomic.Bool {
	if s, ok := log.Handler().(stream); ok {
		return s.stopping
	}
	return nil
}

// For returns log with the name of a component attached.
func For(log *slog.Logger, component string) *slog.Logger {
	return log.With("component", component)
}

// demote moves a level of an upstream program down by one step.
func demote(l slog.Level) slog.Level {
	switch {
	case l >= slog.LevelError:
		return slog.LevelWarn
	case l >= slog.LevelWarn:
		return slog.LevelInfo
	case l >= slog.LevelInfo:
		return slog.LevelDebug
	default:
		return l - (slog.LevelInfo - slog.LevelDebug)
	}
}

// oneLine keeps a multi-line message on one line of the stream.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
}
