package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// The cgroup drivers that the kubelet and containerd know.
const (
	DriverSystemd  = "systemd"
	DriverCgroupfs = "cgroupfs"
)

// Facts are the properties of a machine that the start of a node depends on.
type Facts struct {
	// CgroupVersion is 2 with a unified hierarchy at /sys/fs/cgroup, else 1; 0 when there are no cgroups at all.
	CgroupVersion int
	// CgroupDriver is DriverSystemd or DriverCgroupfs; the kubelet and containerd must agree on it.
	CgroupDriver string
	// Cgroups are the mounted hierarchies.
	Cgroups []Hierarchy
	// RestrictOOMScoreAdj is true when this process may not lower an oom_score_adj: containerd needs to know.
	RestrictOOMScoreAdj bool
	// Capabilities are the effective ones of this process.
	Capabilities Capabilities
	// MemoryBytes is the machine's memory or, when smaller, the limit of this process's cgroup.
	MemoryBytes uint64
	// MemoryLimited is true when MemoryBytes is a cgroup's limit.
	MemoryLimited bool
	// CPUs is the number of processors this process may run on.
	CPUs int
	// BootID changes with every boot of the machine.
	BootID string
	// Kernel is the release, as uname -r prints it.
	Kernel string
	// Systemd is true when systemd manages this machine.
	Systemd bool
	// Contained is true when the process has a PID or cgroup namespace that is not the machine's first.
	Contained bool
}

// Detect reads the facts. An error names every file that could not be read; the facts are then incomplete.
func Detect(ctx context.Context) (Facts, error) {
	f := Facts{CPUs: runtime.NumCPU(), Systemd: systemdBooted(), Contained: contained()}
	mounts, err := mountinfo.GetMounts(nil)
	errs := []error{wrap("read mounts", err)}
	own, err := os.ReadFile("/proc/self/cgroup")
	errs = append(errs, wrap("read own cgroups", err))
	f.Cgroups = hierarchies(mounts, string(own))
	f.CgroupVersion = version(f.Cgroups)
	f.CgroupDriver = driver(f.CgroupVersion, f.Systemd)

	status, err := os.ReadFile("/proc/self/status")
	errs = append(errs, wrap("read own status", err))
	f.Capabilities, err = parseCapabilities(string(status))
	errs = append(errs, err)
	f.RestrictOOMScoreAdj, err = oomScoreRestricted("/proc/self/oom_score_adj")
	errs = append(errs, err)
	f.MemoryBytes, f.MemoryLimited, err = memory(f.Cgroups)
	errs = append(errs, err)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	errs = append(errs, wrap("read boot id", err))
	f.BootID = strings.TrimSpace(string(boot))
	f.Kernel, err = Release()
	return f, errors.Join(append(errs, err, ctx.Err())...)
}

// Release returns the kernel's release.
func Release() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("read kernel release: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

func driver(cgroupVersion int, systemd bool) string {
	if cgroupVersion == 2 && systemd {
		return DriverSystemd
	}
	return DriverCgroupfs
}

// systemdBooted is sd_booted(3), and asks for the bus without which a systemd cgroup driver cannot work.
func systemdBooted() bool {
	if fi, err := os.Lstat("/run/systemd/system"); err != nil || !fi.IsDir() {
		return false
	}
	for _, socket := range []string{"/run/systemd/private", "/run/dbus/system_bus_socket"} {
		if _, err := os.Stat(socket); err == nil {
			return true
		}
	}
	return false
}

// The inode numbers of the first namespaces are fixed in the kernel (include/uapi/linux/nsfs.h, PROC_*_INIT_INO).
const (
	firstPIDNamespace    = "pid:[4026531836]"
	firstCgroupNamespace = "cgroup:[4026531835]"
)

func contained() bool {
	pid, err := os.Readlink("/proc/self/ns/pid")
	if err == nil && pid != firstPIDNamespace {
		return true
	}
	cgroup, err := os.Readlink("/proc/self/ns/cgroup")
	return err == nil && cgroup != firstCgroupNamespace
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
