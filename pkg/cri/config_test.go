package cri_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-cmp/cmp"

	"kedge/pkg/config"
	"kedge/pkg/cri"
)

var update = flag.Bool("update", false, "write the golden files") //nolint:gochecknoglobals // a flag of the tests

func TestConfig(t *testing.T) {
	for name, options := range map[string]cri.Options{
		"default": {Layout: config.NewLayout(config.DefaultDataDir)},
		"other": {
			Layout: config.NewLayout("/srv/a data \"directory\" with a long name"), Snapshotter: cri.FallbackSnapshotter,
			SandboxImage: "registry.example.com/pause:9", UserFiles: "/srv/*.toml",
			SystemdCgroup: true, RestrictOOMScoreAdj: true, DisableAppArmor: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.ReplaceAll(string(cri.Config(options)), platforms.Format(platforms.DefaultSpec()), "linux/amd64")
			file := filepath.Join("testdata", name+".toml")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("configuration differs from %s (-want +got); -update accepts it:\n%s", file, diff)
			}
		})
	}
}

func TestShimSockets(t *testing.T) {
	for dataDir, want := range map[string]string{
		config.DefaultDataDir: "/run/kedge/containerd/s",
		"/srv/kedge":          "/srv/kedge/run/containerd/s",
		"/srv/a/directory/with/a/rather/long/name": "/run/kedge/s-885c296911e7c5e1",
	} {
		if got := cri.ShimSockets(config.NewLayout(dataDir)); got != want {
			t.Errorf("ShimSockets(%s) = %s, want %s", dataDir, got, want)
		}
	}
}
