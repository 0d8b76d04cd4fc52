package host

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// trace is what this test binary has on the machine.
type trace struct {
	Processes []string // in a namespace of a host or switch
	Cgroups   []string
	Mounts    []string
	Links     []string
	Files     []string
	Open      int // namespaces and other files held open
}

// take lists what carries the names of our labs, or is in one of the namespaces.
func take(t *testing.T, namespaces map[string]bool) trace {
	t.Helper()
	var tr trace
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		for _, kind := range []string{"net", "mnt", "pid"} {
			if ns, err := os.Readlink(filepath.Join(p, "ns", kind)); err == nil && namespaces[ns] {
				name, _ := os.ReadFile(filepath.Join(p, "cmdline"))
				tr.Processes = append(tr.Processes, fmt.Sprintf("%s %s %q", p, kind, name))
			}
		}
	}
	all, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		_ = filepath.WalkDir(h.Own, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() && strings.Contains(path, prefix()) {
				tr.Cgroups = append(tr.Cgroups, path)
			}
			return nil
		})
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, prefix()) {
			tr.Mounts = append(tr.Mounts, line)
		}
	}
	links, _ := filepath.Glob("/sys/class/net/port*")
	tr.Links = links
	tr.Files, _ = filepath.Glob(filepath.Join(os.TempDir(), prefix()+"*"))
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	tr.Open = len(open)
	return tr
}

// namespacesOf lists the namespaces of a lab's hosts and switch.
func namespacesOf(t *testing.T, lab *Lab) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	add := func(link string) {
		ns, err := os.Readlink(link)
		if err != nil {
			t.Fatal(err)
		}
		found[ns] = true
	}
	for _, h := range lab.Hosts {
		for _, kind := range []string{"net", "mnt", "pid"} {
			add(fmt.Sprintf("/proc/%d/ns/%s", h.PID(), kind))
		}
	}
	add(fmt.Sprintf("/proc/self/fd/%d", lab.Switch.net.Fd()))
	return found
}

func (tr trace) String() string {
	return fmt.Sprintf("processes %q\ncgroups %q\nmounts %q\nlinks %q\nfiles %q\nopen files %d", tr.Processes, tr.Cgroups, tr.Mounts, tr.Links, tr.Files, tr.Open)
}

// clutter makes a host hold everything that is hard to get rid of.
const clutter = `
for i in 1 2 3; do setsid sh -c 'trap "" TERM; sleep 1000' >/dev/null 2>&1 & done
unshare -m -p -f -n sh -c 'mount -t tmpfs t /mnt; sleep 1000' >/dev/null 2>&1 &
mkdir -p /run/m && mount -t tmpfs t /run/m && mount --bind /run/m /var/lib/kubelet
for c in /sys/fs/cgroup/*/cgroup.procs; do d=${c%/*}/deep/er; mkdir -p $d 2>/dev/null; done
ip link add d0 type veth peer name d1 2>/dev/null
touch /var/lib/kedge/file
true`

func TestNothingIsLeft(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make hosts")
	}
	before := take(t, nil)
	var namespaces map[string]bool
	t.Run("lab", func(t *testing.T) {
		lab := NewLab(t, 2)
		namespaces = namespacesOf(t, lab)
		for _, h := range lab.Hosts {
			h.Must(t, "sh", "-c", clutter)
		}
		if _, err := lab.Switch.Start(Spec{Args: []string{"sleep", "1000"}}); err != nil {
			t.Fatal(err)
		}
		if busy := take(t, namespaces); len(busy.Processes) < 10 || len(busy.Cgroups) == 0 || len(busy.Files) != 1 {
			t.Fatalf("the test does not see what it compares:\n%s", busy)
		}
	})
	after := take(t, namespaces)
	if before.String() != after.String() {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// TestKilledRunIsSwept kills a test binary in the middle of its work. Its hosts die with it; the next run removes the rest.
func TestKilledRunIsSwept(t *testing.T) {
	if os.Getenv("KEDGE_HOST_VICTIM") != "" {
		lab := NewLab(t, 1)
		lab.Hosts[0].Must(t, "sh", "-c", clutter)
		fmt.Println("victim", slices.Sorted(maps.Keys(namespacesOf(t, lab))))
		<-t.Context().Done()
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make hosts")
	}
	before := take(t, nil)
	victim := exec.Command("/proc/self/exe", "-test.run=^TestKilledRunIsSwept$", "-test.v")
	victim.Args[0] = os.Args[0] // the same test binary, the same names
	victim.Env = append(os.Environ(), "KEDGE_HOST_VICTIM=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	namespaces := map[string]bool{}
	buf := make([]byte, 4096)
	for text := ""; !strings.Contains(text, "]\n"); {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("victim ended: %q %v", text, err)
		}
		text += string(buf[:n])
		if _, list, ok := strings.Cut(text, "victim ["); ok && strings.Contains(list, "]\n") {
			for ns := range strings.FieldsSeq(strings.TrimSpace(strings.ReplaceAll(list, "]\n", " "))) {
				namespaces[strings.TrimSuffix(ns, "]")+"]"] = true
			}
		}
	}
	if busy := take(t, namespaces); len(busy.Processes) == 0 || len(busy.Files) == 0 {
		t.Fatalf("the test does not see what it compares:\n%s", busy)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	Eventually(t, 10*time.Second, "hosts of a killed owner die", func() error {
		if left := take(t, namespaces).Processes; len(left) > 0 {
			return fmt.Errorf("still there: %q", left)
		}
		return nil
	})
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	if after := take(t, namespaces); before.String() != after.String() {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// TestSweepOfCgroupsWithoutDirectory has a killed run whose directory somebody else has removed.
func TestSweepOfCgroupsWithoutDirectory(t *testing.T) {
	NewLab(t, 1) // alive, and not to be touched
	all, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	tag := newTag()
	dirs, err := makeCgroups(all, tag, "host1")
	if err != nil {
		t.Fatal(err)
	}
	before := take(t, nil)
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	if fresh := take(t, nil); before.String() != fresh.String() {
		t.Errorf("what is a minute old at most may be in the making, but was removed: before\n%s\nafter\n%s", before, fresh)
	}
	old := time.Now().Add(-time.Hour)
	for _, d := range dirs {
		if err := os.Chtimes(filepath.Dir(d), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	for _, c := range take(t, nil).Cgroups {
		if strings.Contains(c, tag) {
			t.Errorf("still there: %s", c)
		}
	}
}

// TestSweepSparesTheLiving makes a second lab while the first one is in use.
func TestSweepSparesTheLiving(t *testing.T) {
	first := NewLab(t, 1)
	NewLab(t, 1)
	if got := first.Hosts[0].Must(t, "echo", "alive"); got != "alive\n" {
		t.Error(got)
	}
	if err := unix.Access(first.Hosts[0].Path("/var/lib/kedge"), unix.F_OK); err != nil {
		t.Error(err)
	}
}
