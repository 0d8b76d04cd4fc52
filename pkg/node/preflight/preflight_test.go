package preflight

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kedge/pkg/config"
	"kedge/pkg/node/check"
	"kedge/pkg/node/machine"
)

// TestMain lets the test executable be the process in namespaces of its own: it runs the function that the environment
// names and prints what it returns.
func TestMain(m *testing.M) {
	switch os.Getenv("KEDGE_TEST_INSIDE") {
	case "":
		os.Exit(m.Run())
	case "wait":
		os.Stdout.WriteString("up\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "share":
		inside(insideShare)
	}
}

func inside(fn func() error) {
	if err := fn(); err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces and cgroups")
	}
}

func insideShare() error {
	// A fresh mount namespace made private, as in a container.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	share(Options{Layout: config.NewLayout("/var/lib/kedge"), Log: slog.New(slog.NewTextHandler(os.Stdout, nil))})
	shared, err := machine.Shared("/")
	if err == nil && !shared {
		os.Stdout.WriteString("not shared")
	}
	return err
}

func TestShareInOwnNamespace(t *testing.T) {
	needRoot(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KEDGE_TEST_INSIDE=share")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("got %s, %v", out, err)
	}
}

// The rule that makes evacuation necessary holds in every cgroup but the machine's root.
func TestEvacuate(t *testing.T) {
	needRoot(t)
	facts, err := machine.Detect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, ok := facts.Unified()
	if !ok || len(h.Controllers) == 0 {
		t.Skip("needs cgroup v2 with a controller")
	}
	if _, err := os.Stat(filepath.Join(h.Dir(), "cgroup.subtree_control")); err != nil {
		t.Skip("needs a cgroup of its own: ", err)
	}
	for _, c := range h.Controllers {
		if err := write(filepath.Join(h.Dir(), "cgroup.subtree_control"), "+"+c); err != nil {
			t.Skip("needs a cgroup that may have children: ", err)
		}
	}
	root := filepath.Join(h.Dir(), "kedge-preflight-test")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{root + "/init", root} {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	})
	pid := startIn(t, root)
	if err := write(root+"/cgroup.subtree_control", "+"+h.Controllers[0]); err == nil {
		t.Fatal("a cgroup with processes got children with limits; the test proves nothing")
	}
	for range 2 { // the second time nothing is to be done
		if err := evacuate(root); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := processes(root + "/init"); err != nil || !cmp.Equal(got, []int{pid}) {
		t.Errorf("moved %v, %v; want %d", got, err, pid)
	}
	text, err := os.ReadFile(root + "/cgroup.subtree_control")
	if err != nil || !strings.Contains(string(text), h.Controllers[0]) {
		t.Errorf("handed down %q, %v", text, err)
	}
}

// startIn starts a process in a cgroup that ends with the test.
func startIn(t *testing.T, cgroup string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KEDGE_TEST_INSIDE=wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	return cmd.Process.Pid
}

func TestFreeCgroupRootLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	unified := machine.Hierarchy{Version: 2, Mount: dir, Root: "/", Path: "/"}
	for name, f := range map[string]machine.Facts{
		"v1":               {CgroupVersion: 1, Contained: true},
		"systemd":          {CgroupVersion: 2, Contained: true, Systemd: true, Cgroups: []machine.Hierarchy{unified}},
		"not a container":  {CgroupVersion: 2, Cgroups: []machine.Hierarchy{unified}},
		"the machine's":    {CgroupVersion: 2, Contained: true, Cgroups: []machine.Hierarchy{unified}}, // no cgroup.type
		"no own namespace": {CgroupVersion: 2, Contained: true, Cgroups: []machine.Hierarchy{{Version: 2, Mount: dir, Root: "/docker/x"}}},
	} {
		if err := freeCgroupRoot(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: made %v, %v", name, entries, err)
		}
	}
}

// A sysctl of a network namespace of the test's own is set, and one that cannot be written is warned about.
func TestSetSysctls(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // keeps the first thread, should this be it, from what follows
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() { // the thread ends with the goroutine and the namespace with the thread
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		forward := check.Sysctl{Name: "net.ipv4.ip_forward", Value: 1, Required: true}
		setSysctls(log, []check.Sysctl{forward, {Name: "kernel.ostype", Value: 1}, {Name: "kernel.ngroups_max", Value: 1 << 20, AtLeast: true, NeededFor: "a test"}})
		if v, err := forward.Read(); v != 1 || err != nil {
			t.Errorf("ip_forward is %d, %v", v, err)
		}
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "sysctl cannot be set") || !strings.Contains(got, "name=kernel.ngroups_max") {
			t.Errorf("logged %s", got)
		}
	}()
	<-done
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	if err := writable(filepath.Join(dir, "a", "b")); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "a", "b")); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writable(file); err == nil || !strings.HasSuffix(err.Error(), "give another --data-dir") {
		t.Errorf("got %v", err)
	}
}

func TestPorts(t *testing.T) {
	var got []string
	for _, p := range (Options{Port: 6443, Overlay: "none"}).ports() {
		got = append(got, p.String())
	}
	if d := cmp.Diff([]string{"6443/tcp", "10257/tcp", "10259/tcp", "10250/tcp", "10248/tcp"}, got); d != "" {
		t.Error(d)
	}
	if n := len(Options{Port: 6443, DisableAgent: true}.ports()); n != 3 {
		t.Errorf("without a node: %d ports", n)
	}
}

// Everything that is wrong is said at once: here a taken port and a data directory that is a file.
func TestRunReportsAllAtOnce(t *testing.T) {
	needRoot(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Layout: config.NewLayout(file), Log: slog.New(slog.DiscardHandler), DisableAgent: true,
		Port: l.Addr().(*net.TCPAddr).Port, BindAddress: "127.0.0.1"}
	err = run(t.Context(), o, nil) // no sysctls: they are the machine's
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"this machine cannot run kedge", "make data directory: ", "API server; stop it, or use another --https-listen-port", "cgroup version: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}
