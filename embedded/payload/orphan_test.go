package payload

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const orphanEnv = "KEDGE_TEST_ORPHAN"

// startOrphan leaves a process without a parent in the process namespace of pid and returns its process id in
// the test's namespace. The test binary plays both parts, parent and orphan.
func startOrphan(t *testing.T, pid int) int {
	t.Helper()
	before := childrenOf(t, pid)
	done := make(chan error, 1)
	go func() { done <- runIn(pid, exec.Command("/proc/self/exe", "-test.run=^TestOrphanHelper$")) }()
	must(t, <-done)
	var orphan int
	eventually(t, "the orphan shows up", func() bool {
		now := strings.TrimSpace(strings.TrimPrefix(childrenOf(t, pid), before))
		orphan, _ = strconv.Atoi(now)
		return orphan != 0
	})
	return orphan
}

// runIn runs cmd in the process namespace of pid. The thread is changed for good and ends with its goroutine.
func runIn(pid int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	if err := unix.Setns(handle, unix.CLONE_NEWPID); err != nil {
		return fmt.Errorf("enter process namespace: %w", err)
	}
	cmd.Env = append(os.Environ(), orphanEnv+"=parent")
	return cmd.Run()
}

func childrenOf(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	must(t, err)
	return string(raw)
}

// TestOrphanHelper is no test: as parent it starts the orphan and ends, as orphan it waits to be killed.
func TestOrphanHelper(t *testing.T) {
	switch os.Getenv(orphanEnv) {
	case "parent":
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestOrphanHelper$")
		cmd.Env = append(os.Environ(), orphanEnv+"=orphan")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		must(t, cmd.Start())
	case "orphan":
		select {}
	default:
		t.Skip("runs inside TestPauseReapsOrphans only")
	}
}
