package cli

import (
	"context"
	"errors"
	"log/slog"

	"kedge/pkg/config"
	"kedge/pkg/network/cni"
	"kedge/pkg/network/overlay"
	"kedge/pkg/network/proxy/ipvs"
	"kedge/pkg/network/proxy/nftables"
	"kedge/pkg/node/reset"
)

// takeApart removes everything of kedge from the machine but the executable and the configuration.
func takeApart(ctx context.Context, layout config.Layout, kubeconfig string, log *slog.Logger) error {
	network := cni.Paths{Socket: layout.CNISocket(), StateDir: layout.NetworkState(), ConfDir: layout.CNIConf()}
	return reset.Run(ctx, reset.Options{
		Layout: layout, Kubeconfig: kubeconfig, Log: log,
		Network: func(context.Context) error {
			return errors.Join(ipvs.Clean(), nftables.Clean(), overlay.Cleanup(), cni.Cleanup(network))
		},
	})
}
