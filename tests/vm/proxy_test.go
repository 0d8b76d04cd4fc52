package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestServiceProxy runs the tests of the service proxy on a kernel with IPVS.
func TestServiceProxy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, as the other tests of the virtual machine")
	}
	needTools(t)
	dir := t.TempDir()
	files := map[string]string{"test/run.sh": "testdata/proxy.sh"}
	for name, pkg := range map[string]string{
		"netns.test": "kedge/tests/netns", "ipvs.test": "kedge/pkg/network/proxy/ipvs", "vs.test": "kedge/pkg/network/proxy/ipvs/vs",
	} {
		files["bin/"+name] = testBinary(t, dir, name, pkg)
	}
	found := runMachine(t, dir, files)
	for _, name := range []string{"vs", "backend", "ipvs", "ipvs_alone", "nftables"} {
		if strings.HasPrefix(found[name], "0 passed") || !strings.Contains(found[name], ", 0 failed") {
			t.Errorf("%s: %q", name, found[name])
		}
		t.Logf("%s: %s in %s s", name, found[name], found[name+"_seconds"])
	}
	if found["modules_before"] != "0" || found["modules"] != "ip_vs ip_vs_rr " {
		t.Errorf("modules of IPVS: %q before, then %q", found["modules_before"], found["modules"])
	}
}

// testBinary builds the tests of a package for the machine.
func testBinary(t *testing.T, dir, name, pkg string) string {
	t.Helper()
	binary := filepath.Join(dir, name)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-trimpath", "-buildvcs=false", "-c", "-o", binary, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build tests of %s: %v\n%s", pkg, err, out)
	}
	return binary
}
