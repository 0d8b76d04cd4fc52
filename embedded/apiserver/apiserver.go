// Package apiserver runs kube-apiserver inside the process. It is the only package that imports its server.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"kedge/embedded/flagset"
	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
	"kedge/pkg/tunnel"
)

// readinessInterval is how often the server is asked in memory whether its post-start hooks are done.
// It publishes no event for that; the question costs microseconds and is asked only while it starts.
const readinessInterval = 20 * time.Millisecond

// Config of the API server. Args is optional, all else is required.
type Config struct {
	Flags   []string       // kedge's own flags, --key=value
	Args    []config.Arg   // the user's flags, which win
	Tunnels *tunnel.Server // the way to kubelets; its end is the API server's
	Log     *slog.Logger
}

// New returns the API server as a component. It is ready when /readyz is, which includes the RBAC bootstrap,
// so that controllers may start.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("apiserver", func(ctx context.Context, ready func()) error {
		return run(ctx, c, ready)
	})
}

func run(ctx context.Context, c Config, ready func()) error {
	opts := options.NewServerRunOptions()
	if err := flagset.Parse(opts.Flags(), "kube-apiserver-arg", c.Flags, c.Args); err != nil {
		return err
	}
	if err := opts.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("set feature gates: %w", err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	completed, err := opts.Complete(ctx)
	if err != nil {
		return fmt.Errorf("complete options: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("validate options: %w", errors.Join(errs...))
	}
	cfg, err := app.NewConfig(completed)
	if err != nil {
		return fmt.Errorf("build configuration: %w", err)
	}
	defer c.Tunnels.Close()
	if err := useTunnels(cfg, c.Tunnels); err != nil {
		return err
	}
	explainExpiredTokens(cfg)
	full, err := cfg.Complete()
	if err != nil {
		return fmt.Errorf("complete configuration: %w", err)
	}
	replaceBootstrapHooks(full)
	skipOpenAPI(full)
	chain, err := app.CreateServerChain(full)
	if err != nil {
		return fmt.Errorf("create server chain: %w", err)
	}
	kube, ok := chain.GenericAPIServer.NextDelegate().(*genericapiserver.GenericAPIServer)
	if !ok {
		return fmt.Errorf("find the built-in APIs behind the aggregator: got %T", chain.GenericAPIServer.NextDelegate())
	}
	if err := addBootstrapHook(chain.GenericAPIServer); err != nil {
		return err
	}
	installOpenAPI(full, kube)
	mountTunnels(chain.GenericAPIServer, c.Tunnels)
	prepared, err := chain.PrepareRun()
	if err != nil {
		return fmt.Errorf("prepare server: %w", err)
	}
	go func() {
		if waitReady(ctx, chain.GenericAPIServer.Handler, chain.GenericAPIServer.LoopbackClientConfig.BearerToken, c.Log) {
			ready()
		}
	}()
	if err := prepared.Run(ctx); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// waitReady asks the server's own handler, without a network, until everything but its shutdown check agrees.
func waitReady(ctx context.Context, handler http.Handler, token string, log *slog.Logger) bool {
	tick := time.NewTicker(readinessInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code == http.StatusOK {
			return true
		}
		log.Debug("not ready yet", "component", "apiserver", "waiting", failing(rec.Body.String()))
	}
}

// failing lists the checks of a verbose /readyz answer that are not fulfilled.
func failing(body string) string {
	var names []string
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ = strings.Cut(name, " ")
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
