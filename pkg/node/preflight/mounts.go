package preflight

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"kedge/pkg/node/machine"
)

// share makes mounts propagate, as volumes with mountPropagation need it. Only a mount namespace of our own is changed.
func share(o Options) {
	for _, path := range []string{"/", o.Layout.KubeletDir} {
		shared, err := machine.Shared(path)
		if err != nil || shared {
			continue
		}
		if !ownMountNamespace(o.Facts) {
			o.Log.Warn("mounts are not shared, so that mountPropagation of volumes has no effect; mount --make-rshared / before the start", "path", path)
			return
		}
		point, err := machine.MountPoint(path)
		if err == nil {
			err = unix.Mount("", point, "", unix.MS_REC|unix.MS_SHARED, "")
		}
		if err != nil {
			o.Log.Warn("mounts cannot be made shared, so that mountPropagation of volumes has no effect", "path", path, "error", err)
		}
	}
}

// ownMountNamespace compares with the machine's first process. Where that may not be looked at, the number tells: the
// kernel gives the first mount namespace the first number, which is fixed since Linux 6.17.
func ownMountNamespace(f machine.Facts) bool {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	if first, err := os.Readlink("/proc/1/ns/mnt"); err == nil && !f.Contained {
		return own != first
	}
	return f.Contained || !slices.Contains([]string{"mnt:[4026531832]", "mnt:[4026531840]", "mnt:[4026531841]"}, own)
}

const kernelLog = "/dev/kmsg"

// ensureKernelLog makes the device in a container that lacks it. The kubelet opens it and does not start without.
func ensureKernelLog(o Options) {
	if _, err := os.Lstat(kernelLog); !errors.Is(err, os.ErrNotExist) || !o.Facts.Contained {
		return
	}
	if err := unix.Mknod(kernelLog, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11))); err == nil {
		file, err := os.OpenFile(kernelLog, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			file.Close()
			return
		}
		_ = os.Remove(kernelLog) // the container may not use the device
	}
	if err := os.Symlink("/dev/console", kernelLog); err != nil {
		o.Log.Warn("/dev/kmsg is missing and cannot be made", "error", err)
		return
	}
	o.Log.Warn("/dev/kmsg is missing, a link to /dev/console stands in: out-of-memory kills of the node are not seen")
}
