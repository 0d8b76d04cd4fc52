// Package containerd runs containerd inside the process. It is the only package that imports its server.
// Containers are children of their shims, not of containerd: stopping or losing the process does not touch them,
// and the next one adopts them from the state directory.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/containerd/containerd/v2/cmd/containerd/server"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/sirupsen/logrus"

	"kedge/pkg/lifecycle"
)

// Config of the runtime. All fields are required.
type Config struct {
	File string // configuration file in containerd's format, version 4
	Log  *slog.Logger
}

// New returns containerd as a component, ready when the CRI answers.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("containerd", func(ctx context.Context, ready func()) error { return run(ctx, c, ready) })
}

// Load reads and migrates a configuration file as containerd does.
func Load(ctx context.Context, file string) (*srvconfig.Config, error) {
	registered := registry.Graph(func(*plugin.Registration) bool { return false })
	all := func() iter.Seq[plugin.Registration] { return slices.Values(registered) }
	cfg := &srvconfig.Config{}
	if err := srvconfig.LoadConfigWithPlugins(ctx, file, all, cfg); err != nil {
		return nil, fmt.Errorf("load containerd configuration %s: %w", file, err)
	}
	return cfg, nil
}

func run(ctx context.Context, c Config, ready func()) error {
	cfg, err := Load(ctx, c.File)
	if err != nil {
		return err
	}
	if err := server.CreateTopLevelDirectories(cfg); err != nil {
		return fmt.Errorf("create directories: %w", err)
	}
	if err := cleanTemporaryMounts(ctx, c, cfg.Root); err != nil {
		return err
	}
	fatal := catchFatal()
	// Plugins keep the context they are created with; it must outlive the request to stop, or the CRI would be
	// torn down while its last calls are answered.
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv, err := server.New(serving, cfg)
	if err != nil {
		return fmt.Errorf("create server: %w", err)
	}
	defer srv.Stop()
	if err := srv.Start(serving); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	served := make(chan struct{})
	go func() { srv.Wait(); close(served) }()
	select {
	case <-served:
		ready()
	case <-fatal:
		return errFatal
	case <-ctx.Done():
		return nil
	}
	select {
	case <-fatal:
		return errFatal
	case <-ctx.Done():
		return nil
	}
}

var errFatal = errors.New("a part of containerd gave up; the message before says why")

// catchFatal keeps containerd from ending the process, as it does when a socket cannot be served, also because the server
// was stopped while it started. The goroutine that gave up ends, and the channel tells.
func catchFatal() <-chan struct{} {
	fatal := make(chan struct{}, 1)
	logrus.StandardLogger().ExitFunc = func(int) {
		select {
		case fatal <- struct{}{}:
		default:
		}
		runtime.Goexit()
	}
	return fatal
}

// cleanTemporaryMounts removes what an interrupted unpacking left mounted.
func cleanTemporaryMounts(ctx context.Context, c Config, root string) error {
	if err := mount.SetTempMountLocation(filepath.Join(root, "tmpmounts")); err != nil {
		return fmt.Errorf("set place of temporary mounts: %w", err)
	}
	warnings, err := mount.CleanupTempMounts(0)
	if err := errors.Join(append(warnings, err)...); err != nil {
		c.Log.WarnContext(ctx, "temporary mounts of a former run could not be removed", "error", err)
	}
	return nil
}
