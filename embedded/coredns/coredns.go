// Package coredns runs CoreDNS inside the process, with only the plugins that kedge uses. It is the only package that
// imports its server. Caddy keeps its instances in package state, so that there must be exactly one at a time.
package coredns

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"        // listen on chosen addresses
	_ "github.com/coredns/coredns/plugin/cache"       // answers are cached
	_ "github.com/coredns/coredns/plugin/errors"      // failures are logged
	_ "github.com/coredns/coredns/plugin/forward"     // external names
	_ "github.com/coredns/coredns/plugin/kubernetes"  // cluster names
	_ "github.com/coredns/coredns/plugin/loadbalance" // answers in turn

	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
)

// Config of the server. All fields are required.
type Config struct {
	// Corefiles delivers the configuration; the first one starts the server, each further one replaces it without
	// a gap. The channel is never closed.
	Corefiles <-chan string
	Log       *slog.Logger // without a component: CoreDNS's kubernetes plug-in takes klog over, and it is given back
}

// New returns the DNS server as a component, ready when it answers.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("dns", func(ctx context.Context, ready func()) error { return run(ctx, c, ready) })
}

func input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"}
}

func run(ctx context.Context, c Config, ready func()) error {
	caddy.Quiet = true     // both are upstream's package state: no banner on standard output
	dnsserver.Quiet = true // the addresses are logged by kedge
	var instance *caddy.Instance
	for {
		select {
		case <-ctx.Done():
			return stop(instance)
		case corefile := <-c.Corefiles:
			if instance == nil {
				first, err := caddy.Start(input(corefile))
				logging.BridgeKlog(c.Log)
				if err != nil {
					return fmt.Errorf("start server: %w", err)
				}
				instance = first
				ready()
				continue
			}
			next, err := instance.Restart(input(corefile))
			logging.BridgeKlog(c.Log)
			if err != nil {
				c.Log.Warn("new DNS configuration was refused, the former stays", "error", err)
				continue
			}
			instance = next
		}
	}
}

func stop(instance *caddy.Instance) error {
	if instance == nil {
		return nil
	}
	for _, err := range instance.ShutdownCallbacks() {
		if err != nil {
			return fmt.Errorf("shut down plugins: %w", err)
		}
	}
	if err := instance.Stop(); err != nil {
		return fmt.Errorf("stop server: %w", err)
	}
	return nil
}
