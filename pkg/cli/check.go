package cli

import (
	"context"
	"fmt"

	"kedge/pkg/cli/command"
	"kedge/pkg/config"
	"kedge/pkg/node/check"
	"kedge/pkg/node/lock"
	"kedge/pkg/node/machine"
	"kedge/pkg/node/ports"
)

// examine examines the machine for what cfg wants to run on it. It loads no kernel modules: it changes nothing.
func examine(ctx context.Context, cfg *config.Config) (command.Findings, error) {
	facts, err := machine.Detect(ctx)
	if err != nil {
		return nil, fmt.Errorf("read facts: %w", err)
	}
	holder, err := lock.Running(cfg.Layout.Lock())
	if err != nil {
		return nil, fmt.Errorf("look for a running kedge: %w", err)
	}
	o := check.Options{Layout: cfg.Layout, Facts: facts, Overlay: cfg.OverlayBackend, ProxyMode: cfg.ProxyMode, Ports: needed(cfg)}
	if holder != nil {
		o.Running = holder.PID
	}
	report, err := check.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	return report, nil
}

// needed lists the ports of the parts that cfg does not switch off.
func needed(cfg *config.Config) []ports.Port {
	if cfg.Role == config.RoleAgent {
		return append(ports.Agent(cfg.OverlayBackend), ports.Balancer())
	}
	address := ""
	if !cfg.BindAddress.IsUnspecified() {
		address = cfg.BindAddress.String()
	}
	all := ports.Server(address, cfg.HTTPSListenPort)
	if !cfg.DisableAgent {
		all = append(all, ports.Agent(cfg.OverlayBackend)...)
	}
	return all
}
