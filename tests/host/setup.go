package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// path is the search path of everything that runs inside a host.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// bootConfig is what a booting host is told by its owner.
type bootConfig struct {
	Name        string
	Disk        string // the host's directory on the machine
	Hierarchies []hierarchy
	Bare        bool // the switch: the machine's files, and only its own processes and links
	ReadOnlyNet bool // /proc/sys/net cannot be written, and forwards
}

// disks maps a name in the host's directory on the machine to the path where the host sees it.
func disks() map[string]string {
	return map[string]string{
		"kedge": "/var/lib/kedge", "kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd",
		"etc-kedge": "/etc/kedge", "etc-cni": "/etc/cni", "opt-cni": "/opt/cni",
		"pods": "/var/log/pods", "containers": "/var/log/containers",
	}
}

// setup runs in the host's first process, whose namespaces are new except for the cgroup namespace.
func setup(cfg bootConfig) error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare cgroup namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(cfg.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	steps := []func(bootConfig) error{mountKernel, mountRun, mountCgroups, mountDisks, finish}
	if cfg.Bare {
		steps = steps[:1]
	}
	for _, step := range steps {
		if err := step(cfg); err != nil {
			return err
		}
	}
	return nil
}

// mountKernel replaces the views of the kernel. The machine's go away first: what is merely covered still shows in
// /proc/self/mountinfo, and a program would believe that it is there.
func mountKernel(bootConfig) error {
	return errors.Join(
		detach("/sys"), detach("/proc"),
		mount("proc", "/proc", "proc", ""),
		mount("sysfs", "/sys", "sysfs", ""),
	)
}

func mountRun(bootConfig) error {
	return errors.Join(
		detach("/run"), detach("/dev/shm"),
		mount("tmpfs", "/run", "tmpfs", "mode=755"),
		mount("tmpfs", "/dev/shm", "tmpfs", "mode=1777"),
		os.MkdirAll("/run/lock", 0o755),
	)
}

func mountCgroups(cfg bootConfig) error {
	if len(cfg.Hierarchies) == 1 && cfg.Hierarchies[0].V2 {
		return mountUnified()
	}
	if err := mount("tmpfs", cgroupRoot, "tmpfs", "mode=755"); err != nil {
		return err
	}
	for _, h := range cfg.Hierarchies {
		dir, kind, options := filepath.Join(cgroupRoot, h.Name), "cgroup", h.Options
		if h.V2 {
			kind, options = "cgroup2", ""
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup mount point: %w", err)
		}
		if err := mount("cgroup", dir, kind, options); err != nil {
			return err
		}
	}
	return nil
}

// mountUnified mounts cgroup v2 and moves PID 1 out of its root, so that controllers can be given to children.
func mountUnified() error {
	if err := mount("cgroup2", cgroupRoot, "cgroup2", ""); err != nil {
		return err
	}
	leaf := filepath.Join(cgroupRoot, leafCgroup)
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return fmt.Errorf("make leaf cgroup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("1"), 0); err != nil {
		return fmt.Errorf("enter leaf cgroup: %w", err)
	}
	return enableControllers(cgroupRoot)
}

func mountDisks(cfg bootConfig) error {
	var errs []error
	for name, at := range disks() {
		errs = append(errs, os.MkdirAll(at, 0o755), bind(filepath.Join(cfg.Disk, name), at))
	}
	for _, name := range []string{"hosts", "resolv.conf"} {
		at := filepath.Join("/etc", name)
		if _, err := os.Stat(at); err != nil && name != "hosts" {
			continue // a bind mount needs a file to cover
		}
		errs = append(errs, bind(filepath.Join(cfg.Disk, name), at))
	}
	return errors.Join(errs...)
}

func finish(cfg bootConfig) error {
	if cfg.ReadOnlyNet {
		// What a host in a container would have been given from outside.
		for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+key, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("turn on forwarding: %w", err)
			}
		}
		if err := bind("/proc/sys/net", "/proc/sys/net"); err != nil {
			return err
		}
		if err := unix.Mount("", "/proc/sys/net", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make /proc/sys/net read-only: %w", err)
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make / shared: %w", err)
	}
	return nil
}

// detach removes everything that is mounted on or below target.
func detach(target string) error {
	for {
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) {
			return nil // no mount point any more
		}
		if err != nil {
			return fmt.Errorf("detach %s: %w", target, err)
		}
	}
}

func mount(source, target, kind, options string) error {
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", strings.TrimSpace(kind+" "+options), target, err)
	}
	return nil
}

func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", source, target, err)
	}
	return nil
}
