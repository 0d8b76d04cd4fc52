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
	"strings"

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
	if c.ResolvConf == "" {
		c.ResolvConf = ResolvConf
	}
	return lifecycle.Func("resolvers", func(ctx context.Context, ready func()) error {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			return fmt.Errorf("watch %s: %w", c.ResolvConf, err)
		}
		defer func() { _ = watcher.Close() }() // nothing depends on it
		last := ""
		for first := true; ; first = false {
			places := follow(watcher, c.ResolvConf, log)
			upstreams, err := read(c.ResolvConf, c.Addresses)
			if err != nil {
				log.Warn("host's resolvers could not be read, external names are not answered", "file", c.ResolvConf, "error", err)
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
			if !next(ctx, watcher, places) {
				return nil
			}
		}
	})
}

func read(file string, own []netip.Addr) ([]netip.AddrPort, error) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read resolvers: %w", err)
	}
	return Upstreams(text, own), nil
}

// maxLinks is how many symbolic links are followed from one file to another; the kernel's own limit is 40.
const maxLinks = 40

// follow watches the file and, because it is often replaced or a symbolic link, the directories that it and the targets
// of its links are in. It returns the names of the file and the targets. A target that does not exist yet is waited for
// in the nearest directory that does. Adding a watch twice changes nothing.
func follow(w *fsnotify.Watcher, file string, log *slog.Logger) []string {
	var places []string
	for range maxLinks {
		places = append(places, file)
		watch(w, file, log)
		watchDir(w, filepath.Dir(file), log)
		target, err := os.Readlink(file)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(file), target)
		}
		file = target
	}
	return places
}

// watchDir watches the directory or the nearest one above it that exists. It looks twice, because the directory may be made
// between the refusal to watch it and the watch of the one above.
func watchDir(w *fsnotify.Watcher, dir string, log *slog.Logger) {
	for former, nearest := "", ""; ; former = nearest {
		for nearest = dir; !watch(w, nearest, log) && nearest != filepath.Dir(nearest); {
			nearest = filepath.Dir(nearest)
		}
		if nearest == former {
			return
		}
	}
}

// watch tells whether the path exists, as far as that can be known.
func watch(w *fsnotify.Watcher, path string, log *slog.Logger) bool {
	err := w.Add(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		log.Debug("file is not watched", "file", path, "error", err)
	}
	return true
}

// next waits for an event that can mean a change of the resolvers: at one of the places or at a directory above one.
func next(ctx context.Context, w *fsnotify.Watcher, places []string) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case e, ok := <-w.Events:
			if !ok {
				return false
			}
			if slices.ContainsFunc(places, func(p string) bool { return p == e.Name || strings.HasPrefix(p, e.Name+"/") }) {
				return true
			}
		case _, ok := <-w.Errors: // an overflow: look again
			return ok
		}
	}
}
