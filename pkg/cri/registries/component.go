package registries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"kedge/pkg/lifecycle"
)

// Options of the component. All fields are required.
type Options struct {
	File string // registries.yaml, which need not exist
	Dir  string // containerd's tree of hosts.toml (config_path), not shared with other runtimes
	Log  *slog.Logger
}

// New returns the component that writes the tree and, when an endpoint needs it, relays containerd's requests.
// It is ready when containerd may pull. Changes of the file count from the next start.
func New(o Options) lifecycle.Component {
	return lifecycle.Func("registries", func(ctx context.Context, ready func()) error { return run(ctx, o, ready) })
}

func run(ctx context.Context, o Options, ready func()) error {
	registries, err := Load(o.File)
	if err != nil {
		return err
	}
	hosts := registries.plan()
	relay, err := relayFor(hosts, o.Log)
	if err != nil {
		return err
	}
	if relay == nil {
		files, _ := render(hosts, relayAddress{})
		if err := writeTree(o.Dir, files); err != nil {
			return err
		}
		ready()
		<-ctx.Done()
		return nil
	}
	defer relay.listener.Close()
	files, relayed := render(hosts, relay.address)
	for _, e := range relayed {
		u, err := newUpstream(e, o.Log)
		if err != nil {
			return err
		}
		relay.upstreams = append(relay.upstreams, u)
	}
	if err := writeTree(o.Dir, files); err != nil {
		return err
	}
	return serve(ctx, relay, ready)
}

// relayFor returns nil when containerd can talk to all endpoints itself.
func relayFor(hosts []host, log *slog.Logger) (*relay, error) {
	if _, relayed := render(hosts, relayAddress{}); len(relayed) == 0 {
		return nil, nil
	}
	return listen(log)
}

func serve(ctx context.Context, r *relay, ready func()) error {
	server := r.server()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(r.listener) }()
	ready()
	select {
	case err := <-ended:
		return fmt.Errorf("serve containerd's requests to registries: %w", err)
	case <-ctx.Done():
	}
	err := server.Close()
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		return fmt.Errorf("serve containerd's requests to registries: %w", e)
	}
	if err != nil {
		return fmt.Errorf("stop serving containerd's requests to registries: %w", err)
	}
	return nil
}
