package netns

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What the environment says: which backend is tested, and that the process is the node of a test.
const (
	backendVariable = "KEDGE_PROXY"
	nodeVariable    = "KEDGE_TEST_NODE"
)

// inNode runs a test once for each backend, each time in a process of its own in a fresh network namespace, the node.
func inNode(t *testing.T, test func(*world)) {
	t.Helper()
	if os.Getenv(nodeVariable) == "" {
		t.Parallel()
	}
	for _, b := range backends() {
		name := os.Getenv(backendVariable)
		if os.Getenv(nodeVariable) != "" {
			if b.name == name {
				test(newWorld(t, b))
			}
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("needs root: it makes network namespaces")
			}
			if name != "" && name != b.name {
				t.Skipf("%s says %s", backendVariable, name)
			}
			if err := b.available(); err != nil && name == "" {
				t.Skip("not in this kernel:", err)
			} else if err != nil {
				t.Fatal(err)
			}
			again(t, b.name)
		})
	}
}

// again runs the calling test's function in a process that is the node.
func again(t *testing.T, backend string) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=15m")
	cmd.Env = append(os.Environ(), nodeVariable+"=1", backendVariable+"="+backend)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in the node's namespace: %v", err)
	}
}
