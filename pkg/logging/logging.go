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
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case FormatJSON:
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("parse log format %q: want text or json", format)
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
