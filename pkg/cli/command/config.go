package command

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := group("config", "Show or check the configuration", "print or validate")
	cmd.AddCommand(a.configPrintCommand(), a.configValidateCommand())
	return cmd
}

func roleFlag(cmd *cobra.Command, what string) func() (config.Role, error) {
	role := cmd.Flags().String("role", string(config.RoleServer), what+": server or agent")
	return func() (config.Role, error) {
		switch r := config.Role(*role); r {
		case config.RoleServer, config.RoleAgent:
			return r, nil
		}
		return "", wrongUse("--role: %q is not known; want server or agent", *role)
	}
}

func (a *app) configPrintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "print", Short: "Show all options, their values and where these are from", Args: noArgs,
		Long: "Shows every option with the value that kedge server or agent would use, and where it is from:\n" +
			"default, detected, a file with the line, or an environment variable. Secrets are not shown.\n" +
			"The YAML output is a configuration file.",
	}
	o := addOptions(cmd, config.RoleServer, "config")
	role, output := roleFlag(cmd, "whose options"), outputFlag(cmd, "yaml", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		if o.role, err = role(); err != nil {
			return err
		}
		sources, err := o.load(a)
		if err != nil {
			return err
		}
		settings, invalid := config.Settings(sources, a.Machine)
		if format == "json" {
			err = a.writeJSON(settings)
		} else {
			err = a.writeSettings(settings)
		}
		if err != nil {
			return err
		}
		return invalid
	}
	return cmd
}

// writeSettings writes the settings as a configuration file.
func (a *app) writeSettings(settings []config.Setting) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		line := s.Name + ": " + yamlValue(s)
		if s.Option.Outside || s.Hidden || line == s.Name+`: ""` {
			line = "# " + line // not a key of files, or nothing that a file could say
		}
		fmt.Fprintf(w, "%s\t# %s\n", line, s.Origin) // reported by Flush
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

func yamlValue(s config.Setting) string {
	if !s.Option.IsList() {
		if s.Option.IsPlain() {
			return s.Values[0]
		}
		return strconv.Quote(s.Values[0])
	}
	quoted := make([]string, 0, len(s.Values))
	for _, v := range s.Values {
		quoted = append(quoted, strconv.Quote(v))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (a *app) configValidateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "validate [FILE]", Short: "Check a configuration file and those in the directory beside it",
		Long: "Checks FILE and FILE.d/*.yaml, " + config.DefaultConfigFile + " when no file is named, without the environment.\n" +
			"What cannot be found out about this machine is not an error.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return wrongUse("%s takes one file, found %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
	}
	role := roleFlag(cmd, "whose options")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		r, err := role()
		if err != nil {
			return err
		}
		file := config.DefaultConfigFile
		if len(args) == 1 {
			file = args[0]
		}
		return a.validate(r, file)
	}
	return cmd
}

func (a *app) validate(role config.Role, file string) error {
	sources, err := config.LoadFile(role, file)
	if err != nil {
		return err
	}
	if err := config.Written(config.Resolve(sources, a.Machine)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.Out, "%s is valid\n", file); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
