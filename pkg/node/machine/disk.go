package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is the file system that holds a directory.
type Disk struct {
	Type      string // "ext4", "overlay" …, or the hexadecimal magic number of statfs(2)
	FreeBytes uint64 // that root may use
	FreeFiles uint64 // 0 together with TotalFiles 0 on file systems without a limit
	AllFiles  uint64
	ReadOnly  bool
}

// DiskOf looks at the file system of path or, while path does not exist, of the nearest parent that does.
func DiskOf(path string) (Disk, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == nil {
			break
		}
		parent := filepath.Dir(path)
		if !errors.Is(err, unix.ENOENT) || parent == path {
			return Disk{}, fmt.Errorf("look at the file system of %s: %w", path, err)
		}
		path = parent
	}
	return Disk{
		Type: fsName(st.Type), FreeBytes: st.Bfree * uint64(st.Bsize), FreeFiles: st.Ffree, AllFiles: st.Files,
		ReadOnly: st.Flags&unix.ST_RDONLY != 0,
	}, nil
}

func fsName(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("0x%x", magic)
}

// TryOverlay makes an overlay file system whose layers are below dir, without mounting it anywhere. The error is nil
// when it works. Nothing is left in dir, which is made when it is missing.
func TryOverlay(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("try overlayfs: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, ".overlay-")
	if err != nil {
		return fmt.Errorf("try overlayfs: %w", err)
	}
	err = createOverlay(tmp, true)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.10 it cannot do without syncing
		err = createOverlay(tmp, false)
	}
	return errors.Join(err, wrap("try overlayfs", os.RemoveAll(tmp)))
}

// createOverlay makes the file system and drops it. A volatile one does not write back all of the disk at its end.
func createOverlay(tmp string, volatile bool) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open file system overlay: %w", err)
	}
	defer unix.Close(fs)
	for _, layer := range []string{"lower", "upper", "work"} {
		path := filepath.Join(tmp, layer)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("make layer: %w", err)
		}
		if err := unix.FsconfigSetString(fs, layer+"dir", path); err != nil {
			return fmt.Errorf("configure overlay: %w", err)
		}
	}
	if volatile {
		if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
			return fmt.Errorf("configure overlay: %w", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("create overlay on %s: %w", filepath.Dir(tmp), err)
	}
	return nil
}
