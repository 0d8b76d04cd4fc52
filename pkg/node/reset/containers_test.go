package reset

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/node/machine"
)

// hierarchy makes a cgroup of the test's own, in which the pods' cgroups are looked for.
func hierarchy(t *testing.T) (machine.Facts, string) {
	t.Helper()
	facts, err := machine.Detect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, ok := facts.Controller("pids")
	if !ok || h.ReadOnly {
		t.Skip("needs a cgroup hierarchy with the controller pids")
	}
	h.Mount = filepath.Join(h.Dir(), "kedge-reset-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(h.Mount, 0o755); err != nil {
		t.Skip("needs a cgroup that may have children: ", err)
	}
	t.Cleanup(func() {
		if err := removeCgroup(h.Mount); err != nil {
			t.Error(err)
		}
	})
	return machine.Facts{Cgroups: []machine.Hierarchy{h}, CgroupDriver: machine.DriverCgroupfs}, h.Mount
}

func enter(t *testing.T, cgroup string, pid int) {
	t.Helper()
	mkdir(t, cgroup)
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
}

func alive(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

func copyExecutable(t *testing.T, to string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Dir(to))
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestEndContainers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes cgroups")
	}
	facts, root := hierarchy(t)
	o := options(t, t.TempDir()).withDefaults()
	o.Grace = 300 * time.Millisecond
	exe := copyExecutable(t, filepath.Join(o.Layout.BinDir(), "containerd-shim-runc-v2"))
	foreignExe := copyExecutable(t, filepath.Join(t.TempDir(), "containerd-shim-runc-v2"))

	shim, willing := play(t, exe, "shim")
	_, stubborn := play(t, exe, "shim", "STUBBORN=1")
	_, orphan := play(t, foreignExe, "container") // its shim is gone; the kubelet knows the pod
	otherShim, other := play(t, foreignExe, "shim")
	mkdir(t, o.Layout.KubeletDir, "pods", "0a1b-33")
	enter(t, filepath.Join(root, "kubepods", "burstable", "pod0a1b-11", "c1"), willing)
	enter(t, filepath.Join(root, "kubepods", "pod0a1b-22", "c2"), stubborn)
	enter(t, filepath.Join(root, "kubepods.slice", "kubepods-besteffort.slice", "kubepods-besteffort-pod0a1b_33.slice", "c3"), orphan)
	enter(t, filepath.Join(root, "kubepods", "besteffort", "pod0a1b-44", "c4"), other)
	mkdir(t, root, "kubepods", "besteffort", "pod0a1b-55", "c5") // nobody's

	inv := o.inventory(facts)
	begin := time.Now()
	if err := o.endContainers(t.Context(), facts, inv); err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]int{"willing": willing, "stubborn": stubborn, "orphan": orphan, "shim": shim.Process.Pid} {
		if alive(pid) {
			t.Errorf("%s lives", name)
		}
	}
	if !alive(other) || !alive(otherShim.Process.Pid) {
		t.Error("a container of another node was ended")
	}
	if took := time.Since(begin); took < o.Grace || took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	var left []string
	for _, d := range tree(root) {
		rel, err := filepath.Rel(root, d)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, rel)
	}
	if d := cmp.Diff([]string{"kubepods/besteffort/pod0a1b-44/c4", "kubepods/besteffort/pod0a1b-44", "kubepods/besteffort", "kubepods", "."}, left); d != "" {
		t.Error(d)
	}
	if err := syscall.Kill(other, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	for name, want := range map[string]string{
		"pod0a1b-22": "0a1b-22", "kubepods-pod0a1b_22.slice": "0a1b_22", "kubepods-burstable-pod0a1b_22.slice": "0a1b_22",
		"burstable": "", "pod": "", "podman": "", "kubepods.slice": "",
	} {
		got := ""
		if m := podPattern.FindStringSubmatch(name); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestParseParent(t *testing.T) {
	for stat, want := range map[string]int{
		"12 (sh) S 7 12 12": 7, "12 (a ) b) R 8 12 12": 8, "": 0, "12 (x": 0,
	} {
		if got := parseParent(stat); got != want {
			t.Errorf("%q: got %d, want %d", stat, got, want)
		}
	}
}

func TestDescendants(t *testing.T) {
	parent := map[int]int{10: 1, 11: 10, 12: 11, 20: 1, 21: 20, 30: 10}
	if d := cmp.Diff([]int{11, 12}, descendants([]int{10, 30}, parent)); d != "" {
		t.Error(d)
	}
}
