// Package controllermanager runs kube-controller-manager inside the process. It is the only package that imports
// its server. Leader election is off: upstream's ends the process when a lease is lost.
package controllermanager

import (
	"context"
	"fmt"
	"log/slog"

	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"

	"kedge/embedded/flagset"
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
	own := append([]string{"--leader-elect=false"}, c.Flags...)
	if err := flagset.Parse(opts.Flags(known, disabled, aliases), "kube-controller-manager-arg", own, c.Args); err != nil {
		return err
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
