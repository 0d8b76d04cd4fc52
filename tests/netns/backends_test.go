package netns

import (
	"log/slog"

	"kedge/pkg/network/proxy/ipvs"
	"kedge/pkg/network/proxy/nftables"
	"kedge/pkg/network/proxy/state"
)

// backend is one implementation of the service proxy's kernel side.
type backend struct {
	name      string
	available func() error
	open      func(*slog.Logger) (state.Backend, error)
	clean     func() error
}

// backends are all there are.
func backends() []backend {
	return []backend{
		{
			"nftables", func() error { return nil },
			func(log *slog.Logger) (state.Backend, error) { return nftables.New(nftables.Options{Log: log}) },
			nftables.Clean,
		},
		{
			"ipvs", ipvs.Available,
			func(log *slog.Logger) (state.Backend, error) {
				return ipvs.New(ipvs.Options{Log: log, Scheduler: "rr"})
			},
			ipvs.Clean,
		},
	}
}
