package payload

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const maxPauseSize = 1024

// startPause starts the pause program as the first process of a process namespace of its own.
func startPause(t *testing.T) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a process namespace")
	}
	built(t)
	program := pauseProgram(t)
	if len(program) > maxPauseSize {
		t.Errorf("pause has %d bytes, want at most %d", len(program), maxPauseSize)
	}
	path := filepath.Join(t.TempDir(), "pause")
	must(t, os.WriteFile(path, program, 0o755))
	cmd := exec.Command(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	must(t, cmd.Start())
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	waitsForSignals(t, cmd.Process.Pid)
	return cmd
}

// waitsForSignals returns when pause sleeps, which it does in one place only.
func waitsForSignals(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "pause sleeps", func() bool { return strings.HasPrefix(status(t, pid, "State"), "S") })
}

func TestPauseEndsOnSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := startPause(t)
			must(t, cmd.Process.Signal(signal))
			if err := cmd.Wait(); err != nil {
				t.Errorf("pause ended with %v, want status 0", err)
			}
		})
	}
}

func TestPauseReapsOrphans(t *testing.T) {
	cmd := startPause(t)
	pid := cmd.Process.Pid
	orphan := startOrphan(t, pid)
	eventually(t, "pause adopts the orphan", func() bool { return status(t, orphan, "PPid") == strconv.Itoa(pid) })
	must(t, syscall.Kill(orphan, syscall.SIGKILL))
	eventually(t, "the orphan is reaped", func() bool { return status(t, orphan, "State") == "" })
	waitsForSignals(t, pid)
}

// status reads a field of a process's status file, empty when the process is gone.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(raw), "\n"+field+":\t")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("within 10 s it never came about that %s", what)
		}
	}
}
