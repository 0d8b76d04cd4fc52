package reset

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kedge/pkg/config"
)

const (
	insideVariable = "KEDGE_TEST_INSIDE" // set in the namespaces that a test runs itself in
	roleVariable   = "KEDGE_TEST_ROLE"   // what a process of a test plays
)

// TestMain lets the test executable play a shim, which starts a container's process and waits, and that process.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "shim":
		child := exec.Command("/proc/self/exe")
		child.Env = append(os.Environ(), roleVariable+"=container")
		child.Stdin, child.Stdout = os.Stdin, os.Stdout
		if err := child.Start(); err != nil {
			os.Exit(1)
		}
		_ = child.Wait()
		signal.Ignore(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "container":
		if os.Getenv("STUBBORN") != "" {
			signal.Ignore(syscall.SIGTERM)
		}
		os.Stdout.WriteString(strconv.Itoa(os.Getpid()) + "\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

// inside runs the test itself again in mount and PID namespaces of its own and returns false, or true there: with an
// empty file system at the path returned, in which mounts are shared as on a host with systemd.
func inside(t *testing.T) (base string, ok bool) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces and mounts")
	}
	if base = os.Getenv(insideVariable); base == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), insideVariable+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return "", false
	}
	mount(t, "", "/", "", unix.MS_REC|unix.MS_PRIVATE)
	mount(t, "proc", "/proc", "proc", 0)
	mount(t, "tmpfs", base, "tmpfs", 0)
	mount(t, "", base, "", unix.MS_SHARED)
	return base, true
}

func mount(t *testing.T, source, target, fsType string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, fsType, flags, ""); err != nil {
		t.Fatalf("mount %s on %s: %v", source, target, err)
	}
}

func mkdir(t *testing.T, elem ...string) string {
	t.Helper()
	dir := filepath.Join(elem...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func touch(t *testing.T, elem ...string) string {
	t.Helper()
	file := filepath.Join(elem...)
	mkdir(t, filepath.Dir(file))
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func wantFile(t *testing.T, file string) {
	t.Helper()
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("file is lost: %v", err)
	}
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
}

func options(t *testing.T, base string) Options {
	t.Helper()
	return Options{
		Layout: config.NewLayout(filepath.Join(base, "data")), Kubeconfig: filepath.Join(base, "etc", "kubeconfig.yaml"),
		Log:     slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		PodLogs: filepath.Join(base, "log", "pods"), ContainerLogs: filepath.Join(base, "log", "containers"),
		RuncRoot: filepath.Join(base, "runc", "k8s.io"),
	}
}

// play starts the test executable, as the file exe, in a role; the number it prints is the container's process.
func play(t *testing.T, exe, role string, env ...string) (shim *exec.Cmd, container int) {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if container, err = strconv.Atoi(line[:len(line)-1]); err != nil {
		t.Fatal(err)
	}
	return cmd, container
}
