// Package scheduler runs kube-scheduler inside the process. It is the only package that imports its server.
// Leader election is off: upstream's ends the process when a lease is lost.
package scheduler

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"

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
	fs := pflag.NewFlagSet("kube-scheduler", pflag.ContinueOnError)
	for _, set := range opts.Flags.FlagSets {
		fs.AddFlagSet(set)
	}
	args := append([]string{"--leader-elect=false"}, c.Flags...)
	for _, a := range c.Args {
		args = append(args, "--"+a.String())
	}
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("parse --kube-scheduler-arg: %w", err)
	}
	cfg, sched, err := app.Setup(ctx, opts)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	ready()
	if err := app.Run(ctx, cfg, sched); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}
