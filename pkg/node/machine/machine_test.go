package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func TestHierarchies(t *testing.T) {
	tests := []struct {
		name, mounts, own string
		want              []Hierarchy
		version           int
	}{{
		name: "v1, controllers together and a named one",
		mounts: `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`,
		own: "9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n",
		want: []Hierarchy{
			{Version: 1, Controllers: []string{"cpu", "cpuacct"}, Mount: "/sys/fs/cgroup/cpu,cpuacct", Root: "/", Path: "/"},
			{Version: 1, Controllers: []string{"memory"}, Mount: "/sys/fs/cgroup/memory", Root: "/", Path: "/a/b", ReadOnly: true},
			{Version: 1, Controllers: []string{"name=systemd"}, Mount: "/sys/fs/cgroup/systemd", Root: "/", Path: "/"},
			{Version: 2, Mount: "/sys/fs/cgroup/unified", Root: "/", Path: "/"},
		},
		version: 1,
	}, {
		name:    "v2",
		mounts:  "30 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n",
		own:     "0::/system.slice/kedge.service\n",
		want:    []Hierarchy{{Version: 2, Mount: "/sys/fs/cgroup", Root: "/", Path: "/system.slice/kedge.service"}},
		version: 2,
	}, {
		name: "mounted again elsewhere",
		mounts: `32 31 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 31 0:29 / /mnt/pids rw - cgroup cgroup rw,pids
`,
		own:     "1:pids:/\n",
		want:    []Hierarchy{{Version: 1, Controllers: []string{"pids"}, Mount: "/sys/fs/cgroup/pids", Root: "/", Path: "/"}},
		version: 1,
	}, {name: "none", mounts: "22 27 0:21 / /proc rw - proc proc rw\n"}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(tt.mounts), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := hierarchies(mounts, tt.own)
			for i := range got { // the file of the machine under test
				if got[i].Version == 2 {
					got[i].Controllers = nil
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if v := version(got); v != tt.version {
				t.Errorf("version %d, want %d", v, tt.version)
			}
		})
	}
}

func TestHierarchyDir(t *testing.T) {
	for _, tt := range []struct{ root, path, want string }{
		{"/", "/", "/m"},
		{"/", "/a/b", "/m/a/b"},
		{"/docker/x", "/docker/x", "/m"},
		{"/docker/x", "/docker/x/y", "/m/y"},
		{"/docker/x", "/docker/xy", "/m"},
		{"/../..", "/", "/m"},
	} {
		if got := (Hierarchy{Mount: "/m", Root: tt.root, Path: tt.path}).Dir(); got != tt.want {
			t.Errorf("root %s path %s: got %s, want %s", tt.root, tt.path, got, tt.want)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("v1/a/memory.stat", "cache 0\nhierarchical_memory_limit 536870912\ntotal_cache 0\n")
	write("v2/a/memory.max", "1073741824\n")
	write("v2/a/b/memory.max", "max\n")
	for _, tt := range []struct {
		h    Hierarchy
		want uint64
	}{
		{Hierarchy{Version: 1, Mount: dir + "/v1", Root: "/", Path: "/a"}, 512 << 20},
		{Hierarchy{Version: 2, Mount: dir + "/v2", Root: "/", Path: "/a/b"}, 1 << 30},
		{Hierarchy{Version: 2, Mount: dir + "/v2", Root: "/", Path: "/"}, 1<<64 - 1},
	} {
		tt.h.Controllers = []string{"memory"}
		if got := memoryLimit([]Hierarchy{tt.h}); got != tt.want {
			t.Errorf("%+v: got %d, want %d", tt.h, got, tt.want)
		}
	}
}

func TestParseCapabilities(t *testing.T) {
	got, err := parseCapabilities("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001fffeffffff\n")
	if err != nil {
		t.Fatal(err)
	}
	if got.Has(unix.CAP_SYS_RESOURCE) || !got.Has(unix.CAP_SYS_ADMIN) {
		t.Errorf("got %x", got)
	}
	for _, text := range []string{"Name:\tx\n", "CapEff:\tzz\n"} {
		if _, err := parseCapabilities(text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

func TestDriver(t *testing.T) {
	for _, tt := range []struct {
		version int
		systemd bool
		want    string
	}{{2, true, "systemd"}, {2, false, "cgroupfs"}, {1, true, "cgroupfs"}} {
		if got := driver(tt.version, tt.systemd); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

func TestDetectThisMachine(t *testing.T) {
	before, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Detect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.MemoryBytes == 0 || f.CPUs == 0 || len(f.BootID) != 36 || f.Kernel == "" || f.CgroupDriver == "" {
		t.Errorf("facts are incomplete: %+v", f)
	}
	if os.Getuid() == 0 && f.Capabilities.Has(unix.CAP_SYS_RESOURCE) == f.RestrictOOMScoreAdj && !f.Contained {
		t.Errorf("capabilities %x, but restricted is %v", f.Capabilities, f.RestrictOOMScoreAdj)
	}
	after, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil || string(before) != string(after) {
		t.Errorf("oom_score_adj was %q and is %q (%v)", before, after, err)
	}
}

func TestClock(t *testing.T) {
	c, err := ReadClock()
	if err != nil || time.Since(c.Now) > time.Minute {
		t.Errorf("clock %+v: %v", c, err)
	}
	for year, want := range map[int]bool{1970: false, 2024: false, 2026: true, 2106: false} {
		if got := (Clock{Now: time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)}).Sane(); got != want {
			t.Errorf("year %d: sane is %v", year, got)
		}
	}
}

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := Detect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCommand(t *testing.T) {
	if got := Command(os.Getpid()); !strings.Contains(got, "machine.test") {
		t.Errorf("own command is %q", got)
	}
	if got := Command(1 << 22); got != "" {
		t.Errorf("a process that is not there has the command %q", got)
	}
}

func TestTryOverlay(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes a file system")
	}
	dir := t.TempDir()
	if err := TryOverlay(filepath.Join(dir, "new")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	// The kernel refuses layers on /proc.
	if err := TryOverlay("/proc"); err == nil {
		t.Error("overlayfs on /proc: no error")
	}
}

func TestDiskOf(t *testing.T) {
	for path, want := range map[string]string{"/proc": "0x9fa0", "/dev/shm/not/there": "tmpfs"} {
		d, err := DiskOf(path)
		if err != nil || d.Type != want {
			t.Errorf("%s: %+v, %v", path, d, err)
		}
	}
}

func TestPropagation(t *testing.T) {
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(`27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
30 27 8:1 / /var/lib rw - ext4 /dev/sda1 rw
31 30 8:1 / /var/lib/kubelet rw master:2 - ext4 /dev/sda1 rw
32 31 8:1 / /var/lib/kubelet rw shared:3 - ext4 /dev/sda1 rw
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/": 27, "/var": 27, "/var/lib": 30, "/var/library": 27, "/var/lib/kubelet/pods": 32} {
		if m := mountOf(mounts, path); m == nil || m.ID != want {
			t.Errorf("%s: got %+v, want %d", path, m, want)
		}
	}
}
