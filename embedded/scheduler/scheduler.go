// Package scheduler runs kube-scheduler inside the process. It is the only package that imports its server.
// Leader election is off: upstream's ends the process when a lease is lost. The component may run several times, one after the
// other.
package scheduler

import (
	"context"
	"fmt"
	"log/slog"

	"k8s.io/component-base/configz"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"kedge/embedded/flagset"
	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
)

// Config of the scheduler. Args is optional, all else is required.
type Config struct {
	Flags []string     // kedge's own flags, --key=value
	Args  []config.Arg // the user's flags, which win
	Log   *slog.Logger
}

// New returns the scheduler as a component. It must start after the API server is ready.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("scheduler", func(ctx context.Context, ready func()) error {
		return run(ctx, c, ready)
	})
}

func run(ctx context.Context, c Config, ready func()) error {
	opts := options.NewOptions()
	own := append([]string{"--leader-elect=false"}, c.Flags...)
	if err := flagset.Parse(*opts.Flags, "kube-scheduler-arg", own, c.Args); err != nil {
		return err
	}
	cfg, sched, err := app.Setup(ctx, opts)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	configz.Delete("componentconfig") // registered again by each run
	ready()
	if err := app.Run(ctx, cfg, sched); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}
