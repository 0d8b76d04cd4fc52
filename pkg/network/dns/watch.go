package dns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"

	"kedge/pkg/lifecycle"
)

// Files in which hosts name their resolvers. With systemd-resolved the first one names its stub on loopback, which
// pods cannot reach, and the second one the real servers.
const (
	ResolvConf         = "/etc/resolv.conf"
	resolvedResolvConf = "/run/systemd/resolve/resolv.conf"
)

// PodResolvConf chooses the file from which the kubelet takes the resolvers of pods that do not use the cluster's DNS.
// It is empty when the host has none.
func PodResolvConf() string {
	text, err := os.ReadFile(ResolvConf)
	if err != nil {
		return ""
	}
	loopback := func(a netip.AddrPort) bool { return a.Addr().IsLoopback() }
	if servers := Upstreams(text, nil); len(servers) > 0 && slices.ContainsFunc(servers, loopback) {
		if _, err := os.Stat(resolvedResolvConf); err == nil {
			return resolvedResolvConf
		}
	}
	return ResolvConf
}

// Watch returns a component that sends the Corefile once at start and again whenever the host's resolvers change.
func (c Config) Watch(corefiles chan<- string, log *slog.Logger) lifecycle.Component {
	return lifecycle.Func("resolvers", func(ctx context.Context, ready func()) error {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			return fmt.Errorf("watch %s: %w", ResolvConf, err)
		}
		defer watcher.Close() //nolint:errcheck // nothing depends on it
		last := ""
		for first := true; ; first = false {
			follow(watcher, log)
			upstreams, err := read(c.Addresses)
			if err != nil {
				log.Warn("host's resolvers could not be read, external names are not answered", "file", ResolvConf, "error", err)
			}
			if text := c.Corefile(upstreams); text != last {
				last = text
				log.Info("resolvers of external names", "servers", upstreams)
				select {
				case corefiles <- text:
				case <-ctx.Done():
					return nil
				}
			}
			if first {
				ready()
			}
			if !next(ctx, watcher) {
				return nil
			}
		}
	})
}

func read(own []netip.Addr) ([]netip.AddrPort, error) {
	text, err := os.ReadFile(ResolvConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read resolvers: %w", err)
	}
	return Upstreams(text, own), nil
}

// follow watches the file and, because it is often replaced or a symbolic link, the directories it and its target are
// in. Adding a watch twice changes nothing.
func follow(w *fsnotify.Watcher, log *slog.Logger) {
	paths := []string{ResolvConf, filepath.Dir(ResolvConf)}
	if target, err := filepath.EvalSymlinks(ResolvConf); err == nil && target != ResolvConf {
		paths = append(paths, target, filepath.Dir(target))
	}
	for _, p := range paths {
		if err := w.Add(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Debug("file is not watched", "file", p, "error", err)
		}
	}
}

// next waits for an event that can mean a change of the resolvers.
func next(ctx context.Context, w *fsnotify.Watcher) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case e, ok := <-w.Events:
			if !ok {
				return false
			}
			if filepath.Base(e.Name) == filepath.Base(ResolvConf) || filepath.Ext(e.Name) == ".conf" {
				return true
			}
		case <-w.Errors: // an overflow: look again
			return true
		}
	}
}
