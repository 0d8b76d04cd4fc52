package check

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kedge/pkg/node/machine"
)

const (
	mebibyte = 1 << 20
	// leastMemory is what an idle control plane and node are comfortable in.
	leastMemory = 768 * mebibyte
)

func privileges(f machine.Facts) Report {
	root := Finding{What: "user", Found: fmt.Sprintf("uid %d", os.Geteuid()), NeededFor: "everything", Status: verdict(os.Geteuid() == 0, Missing)}
	var lacking []string
	for _, c := range []struct {
		number int
		name   string
	}{
		{unix.CAP_SYS_ADMIN, "SYS_ADMIN"}, {unix.CAP_NET_ADMIN, "NET_ADMIN"}, {unix.CAP_NET_RAW, "NET_RAW"}, {unix.CAP_SYS_PTRACE, "SYS_PTRACE"},
		{unix.CAP_CHOWN, "CHOWN"}, {unix.CAP_DAC_OVERRIDE, "DAC_OVERRIDE"}, {unix.CAP_FOWNER, "FOWNER"}, {unix.CAP_KILL, "KILL"},
		{unix.CAP_MKNOD, "MKNOD"}, {unix.CAP_SETGID, "SETGID"}, {unix.CAP_SETUID, "SETUID"}, {unix.CAP_SETPCAP, "SETPCAP"},
		{unix.CAP_SYS_CHROOT, "SYS_CHROOT"}, {unix.CAP_NET_BIND_SERVICE, "NET_BIND_SERVICE"},
	} {
		if !f.Capabilities.Has(c.number) {
			lacking = append(lacking, c.name)
		}
	}
	caps := Finding{What: "capabilities", Found: "all that are needed", NeededFor: "containers", Status: verdict(len(lacking) == 0, Missing)}
	if len(lacking) > 0 {
		caps.Found = "without " + strings.Join(lacking, ", ")
	}
	score := Finding{What: "CAP_SYS_RESOURCE", Found: "yes", NeededFor: "protecting system processes from the OOM killer", Status: verdict(!f.RestrictOOMScoreAdj, Warn)}
	if f.RestrictOOMScoreAdj {
		score.Found = "no, oom_score_adj cannot be lowered"
	}
	return Report{
		root.mend("run as root"),
		caps.mend("start the container with all capabilities"),
		score.mend("none needed: containers run without this protection"),
	}
}

func size(f machine.Facts) Report {
	memory := Finding{What: "memory", Found: fmt.Sprintf("%d MiB", f.MemoryBytes/mebibyte), NeededFor: "control plane and node", Status: verdict(f.MemoryBytes >= leastMemory, Warn)}
	if f.MemoryLimited {
		memory.Found += ", by cgroup limit"
	}
	kernel := Finding{What: "kernel", Found: f.Kernel, NeededFor: "everything", Status: verdict(f.Kernel != "", Warn)}
	return Report{kernel, {What: "processors", Found: fmt.Sprint(f.CPUs), NeededFor: "control plane and node", Status: OK},
		memory.mend(fmt.Sprintf("give it at least %d MiB", leastMemory/mebibyte))}
}

func cgroups(f machine.Facts) Report {
	const need = "limits of containers"
	v := Finding{What: "cgroup version", Found: fmt.Sprintf("v%d", f.CgroupVersion), NeededFor: need, Status: OK}
	switch f.CgroupVersion {
	case 0:
		v.Found, v.Status, v.Mend = "none mounted on "+machine.CgroupMount, Missing, "mount cgroup v2 there"
	case 1:
		v.Status, v.Mend = Warn, "boot with cgroup v2: Kubernetes is about to drop v1"
	}
	out := Report{v, {What: "cgroup driver", Found: f.CgroupDriver, NeededFor: "kubelet and container runtime", Status: OK}}
	required, optional := controllers(f.CgroupVersion)
	for _, c := range slices.Concat(required, optional) {
		out = append(out, controller(f, c, slices.Contains(required, c)))
	}
	return out
}

// controllers lists what the kubelet and runc use. CPU accounting and the control of devices have none in v2.
func controllers(version int) (required, optional []string) {
	switch version {
	case 1:
		return []string{"cpu", "cpuacct", "cpuset", "memory", "pids", "devices"}, []string{"freezer", "blkio", "hugetlb"}
	case 2:
		return []string{"cpu", "cpuset", "memory", "pids"}, []string{"io", "hugetlb"}
	}
	return nil, nil
}

func controller(f machine.Facts, name string, required bool) Finding {
	out := Finding{What: "cgroup controller " + name, NeededFor: "limits of containers"}
	bad := Warn
	if required {
		bad = Missing
	}
	h, there := f.Controller(name)
	switch {
	case !there:
		out.Found, out.Status = "missing", bad
	case h.ReadOnly:
		out.Found, out.Status = h.Mount+" is mounted read-only", bad
	default:
		out.Found, out.Status = h.Mount, OK
	}
	return out.mend("enable it on the kernel's command line or in the parent cgroup; in a container mount cgroups writable")
}
