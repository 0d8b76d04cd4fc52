// Package kubectl runs upstream's kubectl inside the process. Only pkg/cli imports it; a process runs it at most once.
package kubectl

import (
	"fmt"
	"os"
	"strings"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfig files may name these ways to authenticate
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	"k8s.io/kubectl/pkg/cmd/util"
)

// Options say how kubectl runs.
type Options struct {
	// Kubeconfig stands for $KUBECONFIG when it is not empty; plugins see it too.
	Kubeconfig string
	// Fatal is called with the exit status after a command failed, with what it said. It must not return. // required
	Fatal func(message string, code int)
}

// Run runs kubectl with args, without its name, on the standard streams and returns the exit status.
// A command that fails ends in Options.Fatal.
func Run(args []string, o Options) int {
	if o.Kubeconfig != "" {
		if err := os.Setenv("KUBECONFIG", o.Kubeconfig); err != nil {
			fmt.Fprintf(os.Stderr, "kubectl: set KUBECONFIG: %v\n", err) // nowhere left to say it
			return 1
		}
	}
	// The handler of failures is a variable of upstream's package. It would end the process without a word of ours.
	util.BehaviorOnFatal(func(message string, code int) {
		if message != "" {
			fmt.Fprintln(os.Stderr, strings.TrimSuffix(message, "\n")) // nowhere left to say it
		}
		o.Fatal(message, code)
	})
	arguments := append([]string{"kubectl"}, args...)
	logs.GlogSetter(cmd.GetLogVerbosity(arguments)) //nolint:errcheck,gosec // a wrong -v is reported with the other flags
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().
		WithDiscoveryBurst(300).WithDiscoveryQPS(50).WithWarningPrinter(streams)
	root := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
		PluginHandler: cmd.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     arguments, ConfigFlags: flags, IOStreams: streams,
	})
	root.SetArgs(args)
	if err := cli.RunNoErrOutput(root); err != nil {
		util.CheckErr(err) // ends in the handler above
	}
	return 0
}
