package images_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"

	"kedge/pkg/config"
	"kedge/pkg/cri"
)

// testSnapshotter is the one that works everywhere.
const testSnapshotter = cri.FallbackSnapshotter

// runtimeUnderTest is containerd's own executable with kedge's configuration, in namespaces of its own, for all tests.
type runtimeUnderTest struct {
	dir    string
	client *client.Client
	cmd    *exec.Cmd
	log    string // file
}

var containerd *runtimeUnderTest //nolint:gochecknoglobals // started once for all tests

func TestMain(m *testing.M) {
	runtime.LockOSThread() // containerd dies with the thread that started it
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run() // each test says why it is skipped
	}
	var err error
	if containerd, err = startContainerd(); err != nil {
		fmt.Fprintln(os.Stderr, "start containerd:", err)
		return 1
	}
	defer containerd.stop()
	return m.Run()
}

func startContainerd() (*runtimeUnderTest, error) {
	dir, err := os.MkdirTemp("", "kedge-cri-")
	if err != nil {
		return nil, err
	}
	r := &runtimeUnderTest{dir: dir, log: filepath.Join(dir, "log")}
	binary := filepath.Join(dir, "containerd")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-tags=no_zfs,no_btrfs,no_devmapper", //nolint:noctx // ends by itself
		"-o", binary, "github.com/containerd/containerd/v2/cmd/containerd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("build: %w\n%s", err, out), os.RemoveAll(dir))
	}
	l := config.NewLayout(filepath.Join(dir, "d"))
	file := filepath.Join(dir, "config.toml")
	options := cri.Options{Layout: l, Snapshotter: testSnapshotter, RestrictOOMScoreAdj: true, UserFiles: filepath.Join(dir, "none-*")}
	if err := os.WriteFile(file, cri.Config(options), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r.cmd = exec.Command(binary, "-c", file) //nolint:noctx // stop ends it
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Unshareflags: syscall.CLONE_NEWNS, Cloneflags: syscall.CLONE_NEWPID,
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	// New waits for the socket.
	if r.client, err = client.New(l.ContainerdSocket(), client.WithDefaultNamespace(cri.Namespace), client.WithTimeout(15*time.Second)); err != nil {
		text, _ := os.ReadFile(r.log)
		r.stop()
		return nil, fmt.Errorf("connect: %w\n%s", err, text)
	}
	return r, nil
}

func (r *runtimeUnderTest) stop() {
	if r.client != nil {
		r.client.Close()
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	_ = os.RemoveAll(r.dir)
}

func needContainerd(t *testing.T) *runtimeUnderTest {
	t.Helper()
	if containerd == nil {
		t.Skip("containerd needs root")
	}
	return containerd
}

// Every key is known, nothing is migrated, and all plugins load but those that the machine or the test cannot have.
// The other tests use the same daemon: its listing of ingests can meet one of theirs which has no ref yet, or no more, and
// says so as an error; that is about its content, not about its configuration.
func TestConfigurationIsUnderstood(t *testing.T) {
	text, err := os.ReadFile(needContainerd(t).log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "failed to read ingest ref") {
			continue
		}
		for _, bad := range []string{"unknown key", "igrated", "deprecated", "failed to load plugin", "level=error"} {
			if strings.Contains(line, bad) {
				t.Error(line)
			}
		}
	}
}
