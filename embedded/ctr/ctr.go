// Package ctr runs containerd's debugging client inside the process. Only pkg/cli imports it.
package ctr

import (
	"errors"

	"github.com/containerd/containerd/v2/cmd/ctr/app"
	"github.com/urfave/cli/v2"
)

// namespace is where the kubelet's containers and images are.
const namespace = "k8s.io"

// Run runs ctr with args, without its name, on the standard streams. Unless flags or the environment say otherwise it
// talks to the containerd on socket, in the namespace of Kubernetes. A container's exit status is returned as code.
func Run(args []string, socket string) (code int, err error) {
	ctr := app.New()
	defaults := map[string]string{"address": socket, "namespace": namespace}
	for _, f := range ctr.Flags {
		if s, ok := f.(*cli.StringFlag); ok && defaults[s.Name] != "" {
			s.Value = defaults[s.Name]
		}
	}
	ctr.ExitErrHandler = func(*cli.Context, error) {} // it would end the process
	err = ctr.Run(append([]string{"ctr"}, args...))
	if exit, ok := errors.AsType[cli.ExitCoder](err); ok {
		if exit.Error() == "" {
			return exit.ExitCode(), nil
		}
		return exit.ExitCode(), err
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
