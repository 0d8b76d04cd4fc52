package command

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
)

// Programs are what the commands run.
type Programs struct {
	Server func(ctx context.Context, cfg *config.Config, adopt config.Adopt, log *slog.Logger) error
	Agent  func(ctx context.Context, cfg *config.Config, adopt config.Adopt, log *slog.Logger) error
	// Tokens opens the tokens of the cluster whose server has this layout.
	Tokens func(layout config.Layout, kubeconfig string) (Tokens, error)
	Etcd   func(layout config.Layout) (Etcd, error)
	// Kubectl and Ctr get their arguments without the name. They use the process's own standard streams.
	Kubectl func(args []string, o Kubectl) int
	Ctr     func(args []string, socket string) (int, error)
	Check   func(ctx context.Context, cfg *config.Config) (Findings, error)
	Reset   func(ctx context.Context, layout config.Layout, kubeconfig string, log *slog.Logger) error
}

// Kubectl is what the kubectl command gets to know.
type Kubectl struct {
	Kubeconfig string                         // used instead of the ordinary rules when it is not empty
	Fatal      func(message string, code int) // called when a command failed and has printed message; it does not return
}

// Findings is what an examination of the machine found.
type Findings interface {
	// Fit tells that nothing that is required is missing.
	Fit() bool
	WriteText(w io.Writer) error
}

// System is the surrounding of a command.
type System struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   config.Getenv
	Machine  config.Machine
	Terminal func() bool // whether In is a terminal
	Exit     func(code int)
}

// app is one run of the command line.
type app struct {
	Programs
	System
}

// Run runs the command that args, with the name of the program first, stand for and returns the exit status.
func Run(ctx context.Context, args []string, p Programs, s System) int {
	a := &app{p, s}
	switch filepath.Base(args[0]) {
	case "kubectl":
		return a.report(a.kubectl(args[1:]))
	case "ctr":
		return a.report(a.ctr(args[1:]))
	}
	root := a.root()
	root.SetArgs(args[1:])
	return a.report(root.ExecuteContext(ctx))
}

func (a *app) root() *cobra.Command {
	root := group("kedge", "A whole Kubernetes in one executable", "")
	root.Long = "kedge is a whole Kubernetes in one executable, for one small machine or many.\n" +
		"`kedge server` starts a cluster on this machine; `kedge kubectl` talks to it; `kedge agent` adds another machine."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		a.serverCommand(), a.agentCommand(), a.tokenCommand(), a.etcdCommand(), a.kubectlCommand(), a.ctrCommand(), a.statusCommand(), a.checkCommand(),
		a.configCommand(), a.certificateCommand(), a.resetCommand(), a.completionCommand(), a.versionCommand(),
	)
	root.SetHelpCommand(helpCommand())
	return root
}

// group is a command that only holds others.
func group(use, short, want string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return unknownCommand(cmd, args[0])
			case want != "":
				return wrongUse("%s needs a command: %s", cmd.CommandPath(), want)
			}
			return cmd.Help()
		},
	}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), args[0])
			}
			return found.Help()
		},
	}
}

// OSSystem is the surrounding that the process has.
func OSSystem(terminal func() bool) System {
	return System{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.LookupEnv,
		Machine: config.Host{}, Terminal: terminal, Exit: os.Exit,
	}
}
