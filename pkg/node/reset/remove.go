package reset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errMounted is reported for a directory that is left because something is mounted on it.
var errMounted = errors.New("something is mounted there; unmount it and reset again")

// maxErrors bounds what one tree reports: a file system that turned read-only fails for each file.
const maxErrors = 20

// place identifies the mount that an open file is on. Two mounts of one file system have the same device and different
// ids; two subvolumes of one mount the other way round.
type place struct {
	device uint64
	mount  uint64
}

// remover deletes a tree.
type remover struct {
	place place
	errs  []error
}

// removeContent deletes everything in the directory path and leaves the directory. The directory itself may be a mount
// point. A path that does not exist is no error, a symbolic link is.
func removeContent(path string, keep func(name string) bool) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open directory %s: %w", path, err)
	}
	r := &remover{}
	if r.place, err = placeOf(fd); err != nil {
		unix.Close(fd)
		return err
	}
	r.content(fd, path, keep)
	return errors.Join(r.errs...)
}

// removeTree deletes the directory path and everything in it; of a mount point only what is in it.
func removeTree(path string) error {
	if err := removeContent(path, nil); err != nil {
		return err
	}
	err := unix.Rmdir(path)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return fmt.Errorf("remove directory %s: %w", path, err)
}

// content empties the directory open as fd, which it closes.
func (r *remover) content(fd int, path string, keep func(string) bool) {
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		r.fail("list directory "+path, err)
	}
	for _, e := range entries {
		if keep != nil && keep(e.Name()) {
			continue
		}
		r.entry(fd, e, filepath.Join(path, e.Name()))
	}
}

func (r *remover) entry(parent int, e os.DirEntry, path string) {
	if !e.IsDir() {
		if err := unix.Unlinkat(parent, e.Name(), 0); err != nil && !errors.Is(err, unix.ENOENT) {
			r.fail("delete "+path, mounted(err))
		}
		return
	}
	fd, err := unix.Openat(parent, e.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return
	}
	if err != nil {
		r.fail("open directory "+path, err)
		return
	}
	here, err := placeOf(fd)
	if err == nil && here != r.place {
		err = errMounted
	}
	if err != nil {
		unix.Close(fd)
		r.fail("leave directory "+path, err)
		return
	}
	failed := len(r.errs)
	r.content(fd, path, nil)
	if err := unix.Unlinkat(parent, e.Name(), unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) && len(r.errs) == failed {
		r.fail("remove directory "+path, mounted(err))
	}
}

func (r *remover) fail(doing string, err error) {
	switch {
	case len(r.errs) < maxErrors:
		r.errs = append(r.errs, fmt.Errorf("%s: %w", doing, err))
	case len(r.errs) == maxErrors:
		r.errs = append(r.errs, errors.New("more could not be deleted"))
	}
}

// mounted explains what EBUSY means for an entry of a directory.
func mounted(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return errMounted
	}
	return err
}

func placeOf(fd int) (place, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	if err != nil {
		return place{}, fmt.Errorf("find out what is mounted: %w", err)
	}
	p := place{device: unix.Mkdev(st.Dev_major, st.Dev_minor), mount: st.Mnt_id}
	if st.Mask&unix.STATX_MNT_ID == 0 { // before Linux 5.8
		p.mount, err = mountID(fd)
	}
	return p, err
}

// mountID reads what the kernel says of an open file in /proc.
func mountID(fd int) (uint64, error) {
	text, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, fmt.Errorf("find out what is mounted: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(id), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("find out what is mounted: %w", err)
			}
			return n, nil
		}
	}
	return 0, errors.New("find out what is mounted: no mnt_id in /proc/self/fdinfo")
}
