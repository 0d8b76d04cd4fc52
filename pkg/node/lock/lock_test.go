package lock

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test executable be the other process: it takes the lock, starts a child that outlives it, says so
// and waits to be killed.
func TestMain(m *testing.M) {
	path := os.Getenv("KEDGE_TEST_LOCK")
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := Acquire(path, "kedge server --data-dir x"); err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	child := exec.Command("/bin/cat")
	child.Stdin = os.Stdin
	if err := child.Start(); err != nil {
		os.Exit(1)
	}
	os.Stdout.WriteString("locked\n")
	_ = child.Wait()
}

func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "KEDGE_TEST_LOCK="+path)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() }) // ends the child of the holder
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "locked\n" {
		t.Fatalf("holder said %q: %v", line, err)
	}
	return other
}

func TestAcquireNamesTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "kedge.lock")
	other := hold(t, path)
	begin := time.Now()
	_, err := Acquire(path, "kedge reset")
	if _, ok := errors.AsType[*HeldError](err); !ok {
		t.Fatalf("got %v", err)
	}
	want := "lock " + path + ": held by process " + strconv.Itoa(other.Process.Pid) + " (kedge server --data-dir x) since "
	if !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "; stop it first, or use another --data-dir") {
		t.Errorf("got %q, want %q…", err, want)
	}
	if time.Since(begin) > 5*time.Second {
		t.Error("a held lock was waited for")
	}
	h, err := Running(path)
	if err != nil || h == nil || h.PID != other.Process.Pid || h.Command != "kedge server --data-dir x" || time.Since(h.Since) > time.Minute {
		t.Errorf("running: %+v %v", h, err)
	}

	// Killed: the lock is free at once although a child of the holder still lives.
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	if h, err := Running(path); h != nil || err != nil {
		t.Errorf("after kill: %+v %v", h, err)
	}
	l, err := Acquire(path, "again")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || len(text) != 0 {
		t.Errorf("released file holds %q, %v", text, err)
	}
}

func TestAcquireWhileOthersLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kedge.lock")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = Running(path)
			}
		}
	}()
	for range 200 {
		l, err := Acquire(path, "x")
		if err != nil {
			t.Error(err)
			break
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

func TestRunningWithoutFile(t *testing.T) {
	dir := t.TempDir()
	if h, err := Running(filepath.Join(dir, "none", "kedge.lock")); h != nil || err != nil {
		t.Errorf("got %+v %v", h, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("asking made %v, %v", entries, err)
	}
}

func TestAcquireDoesNotFollowSymlinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kedge.lock")
	if err := os.Symlink("elsewhere", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(path, "x"); err == nil {
		t.Error("no error")
	}
}

func TestAcquireDespiteDamagedContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kedge.lock")
	if err := os.WriteFile(path, []byte("{broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Acquire(path, "first")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := Running(path)
	if err != nil || h == nil || h.PID != os.Getpid() || !strings.Contains(h.Command, "lock.test") {
		t.Errorf("got %+v %v", h, err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

func TestParseLocks(t *testing.T) {
	text := "1: POSIX  ADVISORY  WRITE 10 fe:00:7 0 EOF\n2: FLOCK  ADVISORY  WRITE 4242 fe:00:131074 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 1 fe:00:131074 0 EOF\n3: FLOCK  ADVISORY  READ  9 fe:00:8 0 EOF\n"
	for _, tt := range []struct {
		inode string
		pid   int
		found bool
	}{{"fe:00:131074", 4242, true}, {"fe:00:7", 0, false}, {"fe:00:8", 0, false}} {
		if pid, found := parseLocks(text, tt.inode); pid != tt.pid || found != tt.found {
			t.Errorf("%s: got %d %v", tt.inode, pid, found)
		}
	}
}
