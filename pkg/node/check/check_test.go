package check

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kedge/pkg/config"
	"kedge/pkg/node/kernel"
	"kedge/pkg/node/machine"
	"kedge/pkg/node/ports"
)

func TestReportText(t *testing.T) {
	r := Report{
		{What: "kernel: veth", Found: "works", NeededFor: "pod network", Status: OK},
		{What: "disk", Found: "ext4, 900 MiB free", NeededFor: "data directory /d", Status: Warn, Mend: "free at least 256 MiB"},
		{What: "user", Found: "uid 1000", NeededFor: "everything", Status: Missing, Mend: "run as root"},
		{What: "x", Found: "y", NeededFor: "z", Status: Missing},
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `STATUS   WHAT          FOUND               NEEDED FOR         HOW TO MEND
ok       kernel: veth  works               pod network
warn     disk          ext4, 900 MiB free  data directory /d  free at least 256 MiB
missing  user          uid 1000            everything         run as root
missing  x             y                   z
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	wantErr := "user: found uid 1000; needed for everything; run as root\nx: found y; needed for z"
	if err := r.Err(); err == nil || err.Error() != wantErr || r.Fit() {
		t.Errorf("got %v", err)
	}
	if !r[:2].Fit() {
		t.Error("a warning makes the machine unfit")
	}
}

func TestFeature(t *testing.T) {
	vxlan := kernel.Feature{Name: "vxlan", Configs: []string{"CONFIG_VXLAN"}, Modules: []string{"vxlan"}, NeededFor: "overlay", Required: true}
	optional := vxlan
	optional.Required = false
	broken := errors.New("add vxlan link: operation not supported")
	const advice = "load the module (modprobe vxlan, for a container on its host), or use a kernel with CONFIG_VXLAN"
	for _, tt := range []struct {
		name string
		in   kernel.Result
		want Finding
	}{
		{"works", kernel.Result{Feature: vxlan, How: "works"}, Finding{Found: "works", Status: OK}},
		{"module is there", kernel.Result{Feature: vxlan, Err: broken, Loadable: true, How: "h"}, Finding{Found: "h", Status: OK}},
		{"module does not help", kernel.Result{Feature: vxlan, Err: broken, Loadable: true, Tried: true, How: "h"}, Finding{Found: "h", Status: Missing, Mend: advice}},
		{"missing", kernel.Result{Feature: vxlan, Err: broken, How: "missing"}, Finding{Found: "missing", Status: Missing, Mend: advice}},
		{"missing, optional", kernel.Result{Feature: optional, Err: broken, How: "missing"}, Finding{Found: "missing", Status: Warn, Mend: advice}},
		{"not root", kernel.Result{Feature: vxlan, Err: unix.EPERM, How: "not tried: needs root"}, Finding{Found: "not tried: needs root", Status: Warn, Mend: "run as root"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.What, tt.want.NeededFor = "kernel: vxlan", "overlay"
			if d := cmp.Diff(tt.want, feature(tt.in)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCgroups(t *testing.T) {
	v1 := machine.Facts{CgroupVersion: 1, CgroupDriver: "cgroupfs", Cgroups: []machine.Hierarchy{
		{Version: 1, Controllers: []string{"cpu", "cpuacct"}, Mount: "/c/cpu"}, {Version: 1, Controllers: []string{"memory"}, Mount: "/c/memory", ReadOnly: true},
	}}
	got := map[string]string{}
	for _, f := range cgroups(v1) {
		got[f.What] = string(f.Status) + " " + f.Found
	}
	want := map[string]string{
		"cgroup version": "warn v1", "cgroup driver": "ok cgroupfs",
		"cgroup controller cpu": "ok /c/cpu", "cgroup controller cpuacct": "ok /c/cpu", "cgroup controller cpuset": "missing missing",
		"cgroup controller memory": "missing /c/memory is mounted read-only", "cgroup controller pids": "missing missing",
		"cgroup controller devices": "missing missing", "cgroup controller freezer": "warn missing",
		"cgroup controller blkio": "warn missing", "cgroup controller hugetlb": "warn missing",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if r := cgroups(machine.Facts{}); r.Fit() || r[0].Found != "none mounted on /sys/fs/cgroup" {
		t.Errorf("without cgroups: %+v", r)
	}
}

func TestSpace(t *testing.T) {
	for _, tt := range []struct {
		d    machine.Disk
		want Status
	}{
		{machine.Disk{FreeBytes: 1 << 40}, OK},
		{machine.Disk{FreeBytes: 1 << 40, AllFiles: 1 << 20, FreeFiles: 10}, Missing},
		{machine.Disk{FreeBytes: 1 << 30}, Warn},
		{machine.Disk{FreeBytes: 255 << 20}, Missing},
		{machine.Disk{FreeBytes: 1 << 40, ReadOnly: true}, Missing},
	} {
		if got := space(tt.d); got != tt.want {
			t.Errorf("%+v: got %s", tt.d, got)
		}
	}
}

func TestPortsOf(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := Options{Ports: []ports.Port{{Network: "tcp", Address: "127.0.0.1", Number: l.Addr().(*net.TCPAddr).Port, For: "API server", Mend: "use another --https-listen-port"}}}
	f := portsOf(o)[0]
	if f.Status != Missing || !strings.HasPrefix(f.Found, "held by process ") || f.Mend != "stop it, or use another --https-listen-port" {
		t.Errorf("got %+v", f)
	}
	o.Running = os.Getpid()
	if f := portsOf(o)[0]; f.Status != OK || f.Found != "held by kedge itself" {
		t.Errorf("own: got %+v", f)
	}
}

func TestSysctlGood(t *testing.T) {
	exact, least := Sysctl{Value: 10}, Sysctl{Value: 10, AtLeast: true}
	for value, want := range map[int][2]bool{9: {false, false}, 10: {true, true}, 11: {false, true}} {
		if got := [2]bool{exact.Good(value), least.Good(value)}; got != want {
			t.Errorf("%d: got %v", value, got)
		}
	}
}

// The machine that runs the tests is examined; nothing may be left behind.
func TestRunThisMachine(t *testing.T) {
	facts, err := machine.Detect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r, err := Run(t.Context(), Options{Layout: config.NewLayout(filepath.Join(dir, "not", "there")), Facts: facts, Overlay: "vxlan", ProxyMode: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r {
		if f.What == "" || f.Found == "" || f.NeededFor == "" || f.Status == Missing && f.Mend == "" {
			t.Errorf("incomplete: %+v", f)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
}
