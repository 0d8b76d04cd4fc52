package reset

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"kedge/pkg/node/machine"
)

// deleted ends the path of a mount whose mount point is gone; the kernel drops it by itself.
const deleted = "//deleted"

// mountsBelow returns the mounts strictly below the directories, the deepest first.
func mountsBelow(all []*mountinfo.Info, dirs []string) []*mountinfo.Info {
	var out []*mountinfo.Info
	for _, m := range all {
		if slices.ContainsFunc(dirs, func(d string) bool { return m.Mountpoint != d && machine.Below(m.Mountpoint, d) }) &&
			!slices.Contains(dirs, m.Mountpoint) && !strings.HasSuffix(m.Mountpoint, deleted) {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b *mountinfo.Info) int {
		return cmp.Compare(strings.Count(b.Mountpoint, "/"), strings.Count(a.Mountpoint, "/"))
	})
	return out
}

// foreign tells whether a mount shows files that are not kedge's: a real file system, or a directory from outside of
// dirs. What the kubelet and containerd mount themselves is of a kind that holds no such files, or is from within dirs.
func foreign(m *mountinfo.Info, all []*mountinfo.Info, dirs []string) bool {
	switch m.FSType {
	case "overlay", "tmpfs", "proc", "sysfs", "nsfs", "mqueue", "devpts", "cgroup", "cgroup2":
		return false
	}
	return !slices.ContainsFunc(dirs, func(d string) bool {
		on := mountHolding(all, d)
		if on == nil || on.Major != m.Major || on.Minor != m.Minor {
			return false
		}
		rest, err := filepath.Rel(on.Mountpoint, d)
		return err == nil && machine.Below(m.Root, filepath.Join(on.Root, rest))
	})
}

// mountHolding returns the mount that a path is on.
func mountHolding(all []*mountinfo.Info, path string) *mountinfo.Info {
	var best *mountinfo.Info
	for _, m := range all {
		if machine.Below(path, m.Mountpoint) && (best == nil || len(m.Mountpoint) >= len(best.Mountpoint)) {
			best = m
		}
	}
	return best
}

// peerGroup is the propagation group of a shared mount, "" of a private one.
func peerGroup(m *mountinfo.Info) string {
	for o := range strings.FieldsSeq(m.Optional) {
		if group, ok := strings.CutPrefix(o, "shared:"); ok {
			return group
		}
	}
	return ""
}

// leaking returns the mounts whose unmounting would reach mounts elsewhere: below a mount that shares propagation with
// one outside, an unmount happens there, too.
func leaking(below, all []*mountinfo.Info) []*mountinfo.Info {
	inside := map[int]bool{}
	for _, m := range below {
		inside[m.ID] = true
	}
	outside := map[string]bool{}
	for _, m := range all {
		if !inside[m.ID] {
			outside[peerGroup(m)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(below), func(m *mountinfo.Info) bool {
		g := peerGroup(m)
		return g == "" || !outside[g]
	})
}

// unmountAll unmounts everything below dirs. A mount may cover others, so that it takes rounds; it ends when one
// achieves nothing.
func unmountAll(dirs []string, log *slog.Logger) error {
	done := 0
	for {
		all, err := mountinfo.GetMounts(nil)
		if err != nil {
			return fmt.Errorf("read mounts: %w", err)
		}
		below := mountsBelow(all, dirs)
		for _, m := range leaking(below, all) {
			if err := unix.Mount("", m.Mountpoint, "", unix.MS_PRIVATE, ""); err != nil {
				log.Debug("mount stays shared", "path", m.Mountpoint, "error", err)
			}
		}
		unmounted, errs := unmountRound(below, func(m *mountinfo.Info) bool { return foreign(m, all, dirs) }, log)
		if unmounted == 0 {
			if done > 0 {
				log.Info("unmounted", "mounts", done)
			}
			return errors.Join(errs...)
		}
		done += unmounted
	}
}

// unmountRound unmounts once at each mount point: what was covered there must be looked at anew.
func unmountRound(below []*mountinfo.Info, isForeign func(*mountinfo.Info) bool, log *slog.Logger) (unmounted int, errs []error) {
	seen := map[string]bool{}
	for _, m := range below {
		if seen[m.Mountpoint] {
			continue
		}
		seen[m.Mountpoint] = true
		if err := unmount(m); err != nil {
			errs = append(errs, err)
			continue
		}
		unmounted++
		if isForeign(m) {
			log.Info("foreign file system unmounted, its files stay", "path", m.Mountpoint, "type", m.FSType, "source", m.Source)
		}
	}
	return unmounted, errs
}

// unmount prefers the way that writes everything back first, except where that may wait for a server for ever.
func unmount(m *mountinfo.Info) error {
	err := error(unix.EBUSY)
	if !remote(m.FSType) {
		err = unix.Unmount(m.Mountpoint, unix.UMOUNT_NOFOLLOW)
	}
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(m.Mountpoint, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", m.Mountpoint, err)
	}
	return nil
}

func remote(fsType string) bool {
	return slices.ContainsFunc([]string{"nfs", "cifs", "smb", "ceph", "9p", "fuse", "gluster", "afs"}, func(prefix string) bool {
		return strings.HasPrefix(fsType, prefix)
	})
}
