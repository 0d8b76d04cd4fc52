package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"k8s.io/kubernetes/test/utils/image"
)

const (
	kubernetesPath = "k8s.io/kubernetes"
	agnhostPath    = kubernetesPath + "/test/images/agnhost"
	// tags leave out the clouds' own specs, which cannot run here and bring the clouds' libraries; the others are the
	// product's, so that both builds share the cache.
	tags = "providerless,no_zfs,no_btrfs,no_devmapper"
)

// module is the nested module that pins the suite and what the images are made of.
type module struct {
	dir        string
	kubernetes string // version of Kubernetes, v1.2.3
}

// findModule finds the module from the current directory.
func findModule(ctx context.Context) (module, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return module{}, fmt.Errorf("ask go for the module: %w", err)
	}
	m := module{dir: filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "tests", "conformance", "suite", "e2e")}
	raw, err := os.ReadFile(m.file("go.mod"))
	if err != nil {
		return module{}, fmt.Errorf("find the suite's module (run this in a checkout): %w", err)
	}
	file, err := modfile.Parse("go.mod", raw, nil)
	if err != nil {
		return module{}, fmt.Errorf("parse the suite's go.mod: %w", err)
	}
	for _, required := range file.Require {
		if required.Mod.Path == kubernetesPath {
			m.kubernetes = required.Mod.Version
			return m, nil
		}
	}
	return module{}, fmt.Errorf("%s does not require %s", m.file("go.mod"), kubernetesPath)
}

func (m module) file(name string) string { return filepath.Join(m.dir, name) }

// command is a go command in the module, with the settings of the product's build.
func (m module) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly -trimpath -buildvcs=false -tags="+tags)
	cmd.Stderr = os.Stderr
	return cmd
}

// suiteArguments are those of the build of e2e.test. Specs compare the version with the server's; go test would check
// every dependency with vet, which doubles the time.
func (m module) suiteArguments() []string {
	const version = "k8s.io/component-base/version"
	parts := strings.SplitN(strings.TrimPrefix(m.kubernetes, "v"), ".", 3)
	ldflags := fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", version, m.kubernetes, parts[0], parts[1])
	return []string{"test", "-c", "-vet=off", "-ldflags=" + ldflags}
}

// buildSuite makes e2e.test and ginkgo in dir.
func (m module) buildSuite(ctx context.Context, dir string) error {
	args := append(m.suiteArguments(), "-o", filepath.Join(dir, "e2e.test"), kubernetesPath+"/test/e2e")
	if err := m.command(ctx, args...).Run(); err != nil {
		return fmt.Errorf("build e2e.test: %w", err)
	}
	if err := m.command(ctx, "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "ginkgo"), "github.com/onsi/ginkgo/v2/ginkgo").Run(); err != nil {
		return fmt.Errorf("build ginkgo: %w", err)
	}
	return nil
}

// buildPrograms makes the images' own programs in dir, under the names that the go command gives them.
func (m module) buildPrograms(ctx context.Context, dir string) error {
	agnhost := image.GetE2EImage(image.Agnhost)
	version := agnhost[strings.LastIndex(agnhost, ":")+1:]
	args := []string{
		"build", "-ldflags=-s -w", "-ldflags=" + agnhostPath + "=-s -w -X main.Version=" + version, "-o", dir + "/",
		"./coredns", "./sh", "go.etcd.io/etcd/server/v3", "k8s.io/sample-apiserver", agnhostPath,
	}
	for _, name := range []string{"nonewprivs", "regression-issue-74839", "resource-consumer", "resource-consumer/consume-cpu"} {
		args = append(args, kubernetesPath+"/test/images/"+name)
	}
	if err := m.command(ctx, args...).Run(); err != nil {
		return fmt.Errorf("build the images' programs: %w", err)
	}
	return nil
}

// sources is the directory of a package of Kubernetes, where its Dockerfile takes other files from.
func (m module) sources(ctx context.Context) (string, error) {
	out, err := m.command(ctx, "list", "-m", "-f", "{{.Dir}}", kubernetesPath).Output()
	if err != nil {
		return "", fmt.Errorf("find the sources of Kubernetes: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
