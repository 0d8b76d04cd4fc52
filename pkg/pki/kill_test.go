package pki

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const killedDir = "KEDGE_TEST_PKI_DIR"

// TestKill kills a process that does the first creation, each time when a few files more have appeared.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		o := options(t)
		o.ServerDir, o.AgentDir = filepath.Join(dir, "server", "tls"), filepath.Join(dir, "agent", "tls")
		ensure(t, o)
		return
	}
	unfinished := 0
	for files := 0; files < 44; files += 2 {
		o := options(t)
		killAt(t, o, files)
		if len(tree(t, o)) < 44 {
			unfinished++
		}
		healthy(t, ensure(t, o))
	}
	if unfinished == 0 {
		t.Error("no process was killed before it had finished")
	}
}

// killAt starts a process that creates the cluster of o, and kills it when that many files are there.
func killAt(t *testing.T, o Options, files int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killedDir+"="+dataDir(o), "TMPDIR="+t.TempDir()) // a killed process leaves its own
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		if count(o) > files {
			_ = cmd.Process.Kill()
			<-ended
			return
		}
	}
}

// count returns how many files are in the directories that Ensure writes.
func count(o Options) int {
	n := 0
	for _, dir := range []string{o.ServerDir + ".new", o.ServerDir, o.AgentDir} {
		entries, _ := os.ReadDir(dir)
		n += len(entries)
	}
	return n
}
