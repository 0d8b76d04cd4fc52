package command

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
	"kedge/pkg/status"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show what the running process and its parts are doing", Args: noArgs,
		Long: "Asks the running process for the state of each component, the node, the certificates.\n" +
			"The exit status is 1 when it is not running or something is not well.",
	}
	o := addOptions(cmd, config.RoleServer, "config", "data-dir")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		layout, err := o.layout(a)
		if err != nil {
			return err
		}
		report, err := status.Fetch(cmd.Context(), layout.StatusSocket())
		if errors.Is(err, status.ErrNotRunning) {
			return fmt.Errorf("not running: nothing answers on %s; start it with kedge server", layout.StatusSocket())
		}
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("get status: %w; run the command as root", err)
		}
		if err != nil {
			return fmt.Errorf("get status: %w", err)
		}
		if format == "json" {
			err = a.writeJSON(report)
		} else {
			err = report.WriteText(a.Out)
		}
		if err != nil {
			return err
		}
		if !report.Healthy {
			return statusError(failure)
		}
		return nil
	}
	return cmd
}
