package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
)

func (a *app) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Examine whether this machine can run kedge", Args: noArgs,
		Long: "Examines the kernel, cgroups, ports, disk, capabilities and clock of this machine and shows what was found,\n" +
			"what it is needed for and how to mend it. Changes nothing. The exit status is 1 when something required is missing.",
	}
	o := addOptions(cmd, config.RoleServer)
	role, output := roleFlag(cmd, "what the machine is to be"), outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		cfg, err := o.resolve(a)
		if err != nil {
			return err
		}
		if cfg.Role, err = role(); err != nil { // the values are a server's: what an agent takes from its cluster is not known here
			return err
		}
		found, err := a.Check(cmd.Context(), cfg)
		if err != nil {
			return fmt.Errorf("examine machine: %w", err)
		}
		if format == "json" {
			err = a.writeJSON(found)
		} else {
			err = found.WriteText(a.Out)
		}
		if err != nil {
			return err
		}
		if !found.Fit() {
			return statusError(failure)
		}
		return nil
	}
	return cmd
}
