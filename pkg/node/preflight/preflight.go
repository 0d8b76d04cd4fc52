package preflight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"kedge/pkg/config"
	"kedge/pkg/node/check"
	"kedge/pkg/node/machine"
	"kedge/pkg/node/ports"
)

// Options say what will be started.
type Options struct {
	Layout config.Layout // required
	Facts  machine.Facts // required: of machine.Detect
	Log    *slog.Logger  // required

	Port         int    // of the API server; 0 without one
	BindAddress  string // of the API server; empty for all addresses
	Overlay      string // --overlay-backend
	ProxyMode    string // --proxy-mode
	DisableAgent bool
}

// Run prepares the machine and examines it. The error names everything that keeps kedge from running.
func Run(ctx context.Context, o Options) error { return run(ctx, o, check.Sysctls()) }

func run(ctx context.Context, o Options, sysctls []check.Sysctl) error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("prepare machine: kedge runs as user %d; it needs root, for containers and their network", uid)
	}
	errs := []error{writable(o.Layout.DataDir)}
	raiseOpenFiles(o.Log)
	setSysctls(o.Log, sysctls)
	if !o.DisableAgent {
		errs = append(errs, prepareNode(o))
	}
	report, err := check.Run(ctx, check.Options{
		Layout: o.Layout, Facts: o.Facts, Ports: o.ports(), Overlay: o.Overlay, ProxyMode: o.ProxyMode, LoadModules: true,
	})
	if err != nil {
		return err
	}
	for _, f := range report {
		if f.Status == check.Warn {
			o.Log.Debug("machine is not perfect", "what", f.What, "found", f.Found, "neededFor", f.NeededFor, "mend", f.Mend)
		}
	}
	if err := errors.Join(append(errs, report.Err())...); err != nil {
		return fmt.Errorf("this machine cannot run kedge (kedge check shows more):\n%w", err)
	}
	return nil
}

func prepareNode(o Options) error {
	if o.Facts.CgroupVersion == 1 {
		o.Log.Warn("this machine has cgroup v1, which Kubernetes is about to drop; boot it with cgroup v2 when you can")
	}
	ensureKernelLog(o)
	share(o)
	return freeCgroupRoot(o.Facts)
}

func (o Options) ports() []ports.Port {
	all := []ports.Port{ports.Balancer()}
	if o.Port != 0 {
		all = ports.Server(o.BindAddress, o.Port)
	}
	if !o.DisableAgent {
		all = append(all, ports.Agent(o.Overlay)...)
	}
	return all
}

// writable makes the directory when it is missing and writes a file in it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make data directory: %w; give another --data-dir", err)
	}
	f, err := os.CreateTemp(dir, ".write-")
	if err != nil {
		return fmt.Errorf("write to data directory: %w; give another --data-dir", err)
	}
	_, err = f.WriteString("x")
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("write to data directory: %w; free space, or give another --data-dir", err)
	}
	return nil
}
