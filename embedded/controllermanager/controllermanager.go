// Package controllermanager runs kube-controller-manager inside the process. It is the only package that imports
// its server. Leader election is off: upstream's ends the process when a lease is lost.
package controllermanager

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"

	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
)

// Config of the controller manager. Args is optional, all else is required.
type Config struct {
	Flags []string     // kedge's own flags, --key=value
	Args  []config.Arg // the user's flags, which win
	Log   *slog.Logger
}

// New returns the controller manager as a component. It must start after the API server is ready.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("controller-manager", func(ctx context.Context, ready func()) error {
		return run(ctx, c, ready)
	})
}

func run(ctx context.Context, c Config, ready func()) error {
	opts, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("build default options: %w", err)
	}
	known, disabled, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	fs := pflag.NewFlagSet("kube-controller-manager", pflag.ContinueOnError)
	sets := opts.Flags(known, disabled, aliases)
	for _, set := range sets.FlagSets {
		fs.AddFlagSet(set)
	}
	args := append([]string{"--leader-elect=false"}, c.Flags...)
	for _, a := range c.Args {
		args = append(args, "--"+a.String())
	}
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("parse --kube-controller-manager-arg: %w", err)
	}
	cfg, err := opts.Config(ctx, known, disabled, aliases)
	if err != nil {
		return fmt.Errorf("build configuration: %w", err)
	}
	ready()
	if err := app.Run(ctx, cfg.Complete()); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}
