package reset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"kedge/pkg/config"
	"kedge/pkg/node/lock"
	"kedge/pkg/node/machine"
)

// Options of a reset.
type Options struct {
	Layout     config.Layout // required
	Kubeconfig string        // required: the administrator's, which is deleted; nothing else of /etc is
	Log        *slog.Logger  // required

	// Network takes the pod network away, once no container runs; nil when there is none.
	Network func(ctx context.Context) error
	// Grace is the time containers get to end by themselves.
	Grace time.Duration // optional: 5 s

	PodLogs       string // optional: /var/log/pods
	ContainerLogs string // optional: /var/log/containers
	RuncRoot      string // optional: where runc keeps containers' state
}

func (o Options) withDefaults() Options {
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if o.PodLogs == "" {
		o.PodLogs = "/var/log/pods"
	}
	if o.ContainerLogs == "" {
		o.ContainerLogs = "/var/log/containers"
	}
	if o.RuncRoot == "" {
		o.RuncRoot = runcRoot
	}
	return o
}

// Run takes the node of a data directory apart. It refuses while kedge runs on it, with a *lock.HeldError. It goes on
// after a failure; the error names everything that is left, and another run takes it up again.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("reset: running as user %d; it needs root", uid)
	}
	if _, err := os.Stat(o.Layout.DataDir); errors.Is(err, os.ErrNotExist) {
		o.Log.Info("nothing to reset", "dataDir", o.Layout.DataDir)
		return nil
	}
	held, err := lock.Acquire(o.Layout.Lock(), "kedge reset")
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	defer held.Release() //nolint:errcheck // the file is gone by then
	facts, err := machine.Detect(ctx)
	if err != nil {
		o.Log.Warn("machine is not fully known", "error", err)
	}
	err = o.run(ctx, facts)
	if err == nil {
		o.Log.Info("reset is complete", "dataDir", o.Layout.DataDir)
	}
	return err
}

func (o Options) run(ctx context.Context, facts machine.Facts) error {
	var errs []error
	step := func(doing string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", doing, err))
		}
	}
	if o.hadNode() {
		inv := o.inventory(facts)
		step("end containers", o.endContainers(ctx, facts, inv))
		if o.Network != nil {
			step("remove pod network", o.Network(ctx))
		}
		step("unmount", unmountAll(o.directories(), o.Log))
		step("remove logs", o.removeLogs(inv))
		step("remove runtime state", o.removeRuntimeState(inv))
	} else {
		// The kubelet's directory may be another's: this data directory has never had a node.
		o.Layout.KubeletDir = filepath.Join(o.Layout.DataDir, "kubelet")
		step("unmount", unmountAll(o.directories(), o.Log))
	}
	step("remove kubeconfig", remove(o.Kubeconfig))
	step("remove files", o.removeDirectories(len(errs) > 0))
	return errors.Join(errs...)
}

func (o Options) hadNode() bool {
	_, err := os.Stat(filepath.Join(o.Layout.DataDir, "agent"))
	return err == nil
}

// directories are the node's, as the kernel names them in its list of mounts.
func (o Options) directories() []string {
	var out []string
	for _, dir := range []string{o.Layout.KubeletDir, o.Layout.RunDir, o.Layout.DataDir} {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			out = append(out, real)
		}
	}
	return out
}
