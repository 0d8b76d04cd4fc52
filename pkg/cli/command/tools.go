package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kedge/pkg/config"
)

func (a *app) kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl [ARGUMENTS]", Short: "Run kubectl against the cluster of this machine", DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return a.kubectl(args) },
	}
}

// noKubeconfig is the server that kubectl tries when it has found no kubeconfig.
const noKubeconfig = "localhost:8080"

// kubectl uses the cluster's kubeconfig unless the caller names another by KUBECONFIG or --kubeconfig. When a command
// fails for want of one, it says why that file was not used.
func (a *app) kubectl(args []string) error {
	o, hint := Kubectl{}, ""
	if named, _ := a.Getenv("KUBECONFIG"); named == "" && !slices.ContainsFunc(args, isKubeconfigFlag) {
		o.Kubeconfig, hint = a.kubeconfig()
	}
	o.Fatal = func(message string, code int) {
		if hint != "" && strings.Contains(message, noKubeconfig) {
			fmt.Fprintf(a.Err, "kedge: %s\n", hint) // nowhere left to say it
		}
		a.Exit(code)
	}
	if code := a.Kubectl(args, o); code != success {
		return statusError(code)
	}
	return nil
}

func isKubeconfigFlag(arg string) bool {
	return arg == "--kubeconfig" || strings.HasPrefix(arg, "--kubeconfig=")
}

// kubeconfig returns the kubeconfig of the cluster when it can be read, otherwise what to tell a user whose command
// failed.
func (a *app) kubeconfig() (path, hint string) {
	path = a.sources().Text("write-kubeconfig")
	file, err := os.Open(path)
	switch {
	case err == nil:
		file.Close() // opened to see whether it can be
		return path, ""
	case a.hasOwnKubeconfig():
		return "", ""
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Sprintf("%s cannot be read by this user; run the command as root, or set KUBECONFIG to a copy", path)
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Sprintf("%s does not exist; kedge server writes it when it starts, or set KUBECONFIG", path)
	}
	return "", fmt.Sprintf("%v; set KUBECONFIG to another file", err)
}

// hasOwnKubeconfig tells whether kubectl's ordinary rules find a file.
func (a *app) hasOwnKubeconfig() bool {
	home, _ := a.Getenv("HOME")
	_, err := os.Stat(filepath.Join(home, ".kube", "config"))
	return home != "" && err == nil
}

func (a *app) ctrCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ctr [ARGUMENTS]", Short: "Run ctr against the containerd of this machine", DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return a.ctr(args) },
	}
}

// ctr talks to the containerd inside of kedge, in the namespace of Kubernetes.
func (a *app) ctr(args []string) error {
	socket := config.NewLayout(a.sources().Text("data-dir")).ContainerdSocket()
	code, err := a.Ctr(args, socket)
	if err == nil {
		if code != success {
			return statusError(code)
		}
		return nil
	}
	if _, gone := os.Stat(socket); errors.Is(gone, fs.ErrNotExist) && strings.Contains(err.Error(), socket) {
		return fmt.Errorf("ctr: %w; start kedge server, or set KEDGE_DATA_DIR", err)
	}
	return fmt.Errorf("ctr: %w", err)
}

// sources reads what the files and the environment say. A file that this user may not read is left out.
func (a *app) sources() config.Sources {
	s, _ := config.Load(config.RoleServer, nil, a.Getenv) // the error is about files; what is known without them is used
	return s
}
