// Package controllermanager runs kube-controller-manager inside the process. It is the only package that imports
// its server. Leader election is off: upstream's ends the process when a lease is lost. The component may run several times, one
// after the other.
package controllermanager

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	apiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/configz"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"

	"kedge/embedded/flagset"
	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
)

// Config of the controller manager. Args and Built are optional, all else is required.
type Config struct {
	Flags []string     // kedge's own flags, --key=value
	Args  []config.Arg // the user's flags, which win
	Built func()       // called each time when the controllers are built: three of them take CSI's package state from the kubelet
	Log   *slog.Logger
}

const (
	// builtInterval is how often the manager's health page is read until it lists its controllers; upstream has no
	// other sign of it.
	builtInterval = 20 * time.Millisecond
	// lastBuilt is a line of the health page; all controllers' lines appear at once.
	lastBuilt = "[+]serviceaccount-token-controller ok"
)

// New returns the controller manager as a component. It must start after the API server is ready. It is ready when all
// controllers are built: three of them initialize the CSI volume plug-in, which keeps the node's name in package state
// that the kubelet of the same process shares and must be the last to set.
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
	configz.Delete(app.ConfigzName) // registered again by each run
	go func() {
		if !waitBuilt(ctx, cfg.SecureServing) {
			return
		}
		if c.Built != nil {
			c.Built()
		}
		ready()
	}()
	if err := app.Run(ctx, cfg.Complete()); err != nil && (ctx.Err() == nil || stillAtWork(err)) {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

// stillAtWork tells of controllers that did not stop in time: whoever leads next must not work beside them.
func stillAtWork(err error) bool {
	return strings.Contains(err.Error(), "controller shutdown timeout reached")
}

// waitBuilt reads the health page until the controllers are on it.
func waitBuilt(ctx context.Context, serving *apiserver.SecureServingInfo) bool {
	if serving == nil || serving.Listener == nil {
		return true // --secure-port=0: there is nothing to ask
	}
	// The listener is this process's own, and nothing secret is asked or answered.
	insecure := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see above
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure, DisableKeepAlives: true}, Timeout: time.Second}
	page := "https://" + serving.Listener.Addr().String() + "/healthz?verbose"
	tick := time.NewTicker(builtInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if text, err := read(ctx, client, page); err == nil && strings.Contains(text, lastBuilt) {
			return true
		}
	}
}

func read(ctx context.Context, client *http.Client, page string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", fmt.Errorf("build request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("read health page: %w", err)
	}
	defer resp.Body.Close() // read only
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("read health page: %w", err)
	}
	return string(text), nil
}
