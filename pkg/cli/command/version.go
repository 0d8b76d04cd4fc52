package command

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"kedge/pkg/version"
)

// runcVersion is that of the runc that is carried in the executable; it is built from a module of its own.
const runcVersion = "v1.5.2"

type component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type versions struct {
	Version    string      `json:"version"`
	Commit     string      `json:"commit,omitempty"`
	Kubernetes string      `json:"kubernetes"`
	Go         string      `json:"go"`
	Components []component `json:"components"`
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Show the version of kedge and of what it is made of", Args: noArgs,
		Long: "Shows the version of kedge and of the components that are built into it.",
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		v := versions{
			Version: version.Version, Commit: version.Commit, Kubernetes: version.Kubernetes(), Go: runtime.Version(),
			Components: components(),
		}
		if format == "json" {
			return a.writeJSON(v)
		}
		rows := [][]string{{"kedge", v.Version}}
		if v.Commit != "" {
			rows = append(rows, []string{"commit", v.Commit})
		}
		rows = append(rows, []string{"kubernetes", v.Kubernetes}, []string{"go", v.Go})
		for _, c := range v.Components {
			rows = append(rows, []string{c.Name, c.Version})
		}
		return a.writeRows(rows)
	}
	return cmd
}

// components returns the versions of the modules that are linked into this executable, and of the payload.
func components() []component {
	linked := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			linked[m.Path] = m.Version
		}
	}
	var out []component
	for _, c := range []struct{ name, module string }{
		{"etcd", "go.etcd.io/etcd/server/v3"},
		{"kine", "github.com/k3s-io/kine"},
		{"containerd", "github.com/containerd/containerd/v2"},
		{"coredns", "github.com/coredns/coredns"},
	} {
		if v := linked[c.module]; v != "" {
			out = append(out, component{c.name, v})
		}
	}
	return append(out, component{"runc", runcVersion})
}
