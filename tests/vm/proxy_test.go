package vm

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServiceProxy runs the tests of the service proxy on a kernel with IPVS. KEDGE_SOAK is how long the soak lasts; it is left out by default.
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
	names := []string{"vs", "backend", "ipvs", "ipvs_alone", "nftables"}
	soak, err := time.ParseDuration(cmp.Or(os.Getenv("KEDGE_SOAK"), "0s"))
	if err != nil {
		t.Fatal(err)
	}
	if soak > 0 {
		names = append(names, "soak")
		files["test/soak"] = filepath.Join(dir, "soak")
		if err := os.WriteFile(files["test/soak"], []byte(soak.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found := runMachine(t, dir, files, runLimit+soak)
	for _, name := range names {
		if strings.HasPrefix(found[name], "0 passed") || !strings.Contains(found[name], ", 0 failed") {
			t.Errorf("%s: %q", name, found[name])
		}
		t.Logf("%s: %s in %s s", name, found[name], found[name+"_seconds"])
	}
	if soak > 0 {
		t.Logf("soak: %s", found["soaked"])
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
