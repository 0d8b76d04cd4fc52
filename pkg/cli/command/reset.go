package command

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
	"kedge/pkg/logging"
)

func (a *app) resetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reset", Short: "Remove the cluster and all its data from this machine", Args: noArgs,
		Long: "Ends all containers of the cluster, removes its mounts, network links, routes and rules, and deletes the data\n" +
			"directory. File systems that are mounted in volumes of pods are unmounted, their files stay. Refuses while kedge runs.",
	}
	o := addOptions(cmd, config.RoleServer, "config", "data-dir", "write-kubeconfig", "log-level", "log-format")
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sources, err := o.load(a)
		if err != nil {
			return err
		}
		log, err := logging.New(a.Err, sources.Text("log-level"), sources.Text("log-format"))
		if err != nil {
			return usageError{err}
		}
		layout, err := sources.Layout()
		if err != nil {
			return err
		}
		if !*yes {
			if err := a.confirm(layout); err != nil {
				return err
			}
		}
		return a.Reset(cmd.Context(), layout, sources.Text("write-kubeconfig"), log)
	}
	return cmd
}

// confirm asks on a terminal.
func (a *app) confirm(layout config.Layout) error {
	if !a.Terminal() {
		return wrongUse("reset deletes the cluster and needs a terminal to ask on; use --yes to go ahead without")
	}
	fmt.Fprintf(a.Out, "This ends all containers of the cluster on this machine and deletes %s. Type yes to go on: ", layout.DataDir) // without an answer nothing happens
	answer, _ := bufio.NewReader(a.In).ReadString('\n')
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
