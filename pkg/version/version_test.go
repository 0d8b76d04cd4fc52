package version_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"kedge/pkg/version"
)

// semver is the grammar of semantic versions (semver.org, 2.0.0) with the leading v of Go and Kubernetes.
var semver = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

func TestVersionsAreSemantic(t *testing.T) {
	for _, v := range []string{version.Version, version.Kubernetes()} {
		if !semver.MatchString(v) {
			t.Errorf("%q is not a semantic version", v)
		}
	}
}

func TestKubernetesIsTheModulesVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	release, metadata, _ := strings.Cut(version.Kubernetes(), "+")
	if !strings.Contains(string(mod), "\tk8s.io/kubernetes "+release+"\n") {
		t.Errorf("Kubernetes() is of %s, go.mod requires another k8s.io/kubernetes", release)
	}
	if want := "kedge." + strings.ReplaceAll(strings.TrimPrefix(version.Version, "v"), "+", "."); metadata != want {
		t.Errorf("build metadata is %q, want %q", metadata, want)
	}
}
