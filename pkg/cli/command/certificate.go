package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
	"kedge/pkg/pki"
)

func (a *app) certificateCommand() *cobra.Command {
	cmd := group("certificate", "Show the certificates of this machine", "list")
	cmd.AddCommand(a.certificateListCommand())
	return cmd
}

func (a *app) certificateListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the certificates of this machine", Args: noArgs,
		Long: "Lists the certificates below the data directory, also when kedge is not running, with the time at which\n" +
			"they expire and the time at which a running kedge renews them. The exit status is 1 when one has a problem.",
	}
	o := addOptions(cmd, config.RoleServer, "config", "data-dir")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		layout, err := o.layout(a)
		if err != nil {
			return err
		}
		now := time.Now()
		infos, err := pki.ListDir(layout.ServerTLS(), layout.AgentTLS(), now)
		if err != nil {
			return err
		}
		if len(infos) == 0 && format == "text" {
			return fmt.Errorf("no certificates below %s; kedge server makes them at its first start, --data-dir names another directory", layout.DataDir)
		}
		if format == "json" {
			err = a.writeJSON(infos)
		} else {
			err = a.writeRows(certificateRows(infos, now))
		}
		if err != nil {
			return err
		}
		for _, i := range infos {
			if i.Problem != "" {
				return statusError(failure)
			}
		}
		return nil
	}
	return cmd
}

func certificateRows(infos []pki.Info, now time.Time) [][]string {
	rows := [][]string{{"NAME", "AUTHORITY", "EXPIRES", "DAYS", "RENEWAL", "STATE", "FILE"}}
	for _, i := range infos {
		state := "ok"
		if i.Problem != "" {
			state = i.Problem
		}
		days := "-"
		if !i.NotAfter.IsZero() {
			days = fmt.Sprint(int(i.NotAfter.Sub(now).Hours() / 24))
		}
		authority := string(i.Authority)
		if authority == "" {
			authority = "-"
		}
		rows = append(rows, []string{i.Name, authority, minute(i.NotAfter), days, minute(i.RenewAt), state, i.File})
	}
	return rows
}

func minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}
