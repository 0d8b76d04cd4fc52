package host

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// prefix begins the names of everything that labs of this test binary leave on the machine.
func prefix() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".test")
	return "kedge-host-" + name + "-"
}

// Scratch makes a directory that outlives neither the caller, who removes it, nor a killed test binary for long:
// the next run removes it.
func Scratch() (dir string, remove func() error, err error) {
	if err := sweep(); err != nil {
		return "", nil, fmt.Errorf("remove what a killed run left: %w", err)
	}
	dir, lock, err := makeLabDir(newTag())
	return dir, func() error { return removeLabDir(dir, lock) }, err
}

// newTag names a lab or scratch directory.
func newTag() string { return prefix() + strings.ToLower(rand.Text()[:8]) }

// makeLabDir makes the directory of a lab, with a lock in it that is held as long as this process lives.
func makeLabDir(tag string) (string, *os.File, error) {
	dir := filepath.Join(os.TempDir(), tag)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("make lab directory: %w", err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock.new"))
	if err != nil {
		return "", nil, fmt.Errorf("make lock: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return "", nil, fmt.Errorf("take lock: %w", err)
	}
	if err := os.Rename(lock.Name(), filepath.Join(dir, "lock")); err != nil {
		return "", nil, fmt.Errorf("place lock: %w", err)
	}
	return dir, lock, nil
}

// sweep removes the labs of this test binary whose owner is dead.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix()+"????????"))
	if err != nil {
		return fmt.Errorf("list labs: %w", err)
	}
	all, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			if info, e := os.Stat(dir); e != nil || time.Since(info.ModTime()) < time.Minute {
				continue // being made right now
			}
			errs = append(errs, removeLabDir(dir, nil))
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			lock.Close() // its owner lives
			continue
		}
		errs = append(errs, sweepCgroups(all, filepath.Base(dir)), removeLabDir(dir, lock))
	}
	return errors.Join(append(errs, sweepEmptyCgroups(all))...)
}

func sweepCgroups(all []hierarchy, tag string) error {
	var dirs []string
	for _, h := range all {
		dirs = append(dirs, filepath.Join(h.Own, tag))
	}
	return removeCgroups(dirs)
}

// sweepEmptyCgroups removes what a killed run left whose directory was removed by somebody else, such as the script
// that started it. A living lab always has a process in each hierarchy, except while it is being made.
func sweepEmptyCgroups(all []hierarchy) error {
	var dirs []string
	for _, h := range all {
		found, err := filepath.Glob(filepath.Join(h.Own, prefix()+"????????"))
		if err != nil {
			return fmt.Errorf("list cgroups of labs: %w", err)
		}
		for _, dir := range found {
			if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Minute && !hasProcesses(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return removeCgroups(dirs)
}

// removeLabDir deletes a lab's directory unless something is still mounted below it.
func removeLabDir(dir string, lock *os.File) error {
	if lock != nil {
		defer lock.Close()
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	if strings.Contains(string(mounts), " "+dir+"/") {
		return fmt.Errorf("remove %s: a file system is mounted below it", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove lab directory: %w", err)
	}
	return nil
}
