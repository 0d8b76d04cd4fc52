package cli

import (
	"context"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kedge/embedded/ctr"
	"kedge/embedded/kubectl"
	"kedge/pkg/agent"
	"kedge/pkg/cli/command"
	"kedge/pkg/server"
)

// Main runs the command that args stand for and returns the exit status of the process. args[0] is the name of the
// executable; called as kubectl or ctr it is that program.
func Main(args []string) int {
	terminal := func() bool { return term.IsTerminal(int(os.Stdin.Fd())) }
	// Kubernetes adds its --version to the process-wide flags, which cobra shows with every command.
	if f := pflag.CommandLine.Lookup("version"); f != nil {
		f.Hidden = true
	}
	return command.Run(context.Background(), args, programs(), command.OSSystem(terminal))
}

func programs() command.Programs {
	return command.Programs{
		Server: server.Run,
		Agent:  agent.Run,
		Tokens: openTokens,
		Etcd:   openEtcd,
		Kubectl: func(args []string, o command.Kubectl) int {
			return kubectl.Run(args, kubectl.Options(o))
		},
		Ctr:   ctr.Run,
		Check: examine,
		Reset: takeApart,
	}
}
