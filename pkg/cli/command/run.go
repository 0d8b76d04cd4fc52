package command

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
	"kedge/pkg/logging"
)

const optionHelp = "\n\nEach flag is also a key of /etc/kedge/config.yaml and of /etc/kedge/config.yaml.d/*.yaml (name: value), and an\n" +
	"environment variable (--node-name is KEDGE_NODE_NAME). A flag wins over the environment, that over the files."

func (a *app) serverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "server", Short: "Run a control plane and a node on this machine", Args: noArgs,
		Long: "Runs a whole cluster on this machine: the control plane and, unless --disable-agent is set, a node.\n" +
			"With --server and a token of the role server it becomes a further server of that cluster; later starts need neither.\n" +
			"SIGTERM or SIGINT stops it and leaves the containers running; a second one ends it at once." + optionHelp,
	}
	o := addOptions(cmd, config.RoleServer)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sources, err := o.load(a)
		if err != nil {
			return err
		}
		cfg, adopt, err := config.Joining(sources, a.Machine)
		if err != nil {
			return err
		}
		log, err := logging.New(a.Err, cfg.LogLevel, cfg.LogFormat)
		if err != nil {
			return err
		}
		ctx, stop := a.untilSignal(cmd.Context())
		defer stop()
		return a.Server(ctx, cfg, adopt, log)
	}
	return cmd
}

func (a *app) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agent", Short: "Join this machine to a cluster as a node", Args: noArgs,
		Long: "Makes this machine a node of the cluster that --server belongs to. The first start needs a token, which\n" +
			"`kedge token create` prints on a server; later ones do not. What all machines share (networks, DNS, overlay) is\n" +
			"taken from the cluster.\n" +
			"SIGTERM or SIGINT stops it and leaves the containers running; a second one ends it at once." + optionHelp,
	}
	o := addOptions(cmd, config.RoleAgent)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sources, err := o.load(a)
		if err != nil {
			return err
		}
		cfg, adopt, err := config.Joining(sources, a.Machine)
		if err != nil {
			return err
		}
		log, err := logging.New(a.Err, cfg.LogLevel, cfg.LogFormat)
		if err != nil {
			return err
		}
		ctx, stop := a.untilSignal(cmd.Context())
		defer stop()
		return a.Agent(ctx, cfg, adopt, log)
	}
	return cmd
}

// untilSignal returns a context that ends with the first SIGTERM or SIGINT. The second ends the process.
func (a *app) untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		for _, act := range []func(){cancel, func() { a.Exit(failure) }} {
			select {
			case <-signals:
				act()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
