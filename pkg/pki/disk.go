package pki

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// disk changes files so that a crash at any moment leaves each of them old or new, never in between.
type disk struct {
	workers int                         // how many files are synced at once; a journal commits them together
	before  func(op, path string) error // called before each change; for tests
}

// file is the wanted content of a path.
type file struct {
	path string
	data []byte
	mode os.FileMode // 0 means 0600
}

func (f file) permissions() os.FileMode {
	if f.mode == 0 {
		return 0o600
	}
	return f.mode
}

// temporary returns the name under which path is prepared.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
}

// write brings all files to the disk, and then into place in the given order.
func (d disk) write(ctx context.Context, files ...file) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(d.workers)
	for _, f := range files {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return d.prepare(f)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var dirs []string
	for _, f := range files {
		if err := d.rename(temporary(f.path), f.path); err != nil {
			return err
		}
		dirs = append(dirs, filepath.Dir(f.path))
	}
	for _, dir := range distinct(dirs) {
		if err := d.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// prepare writes and syncs the temporary file of f.
func (d disk) prepare(f file) (err error) {
	tmp := temporary(f.path)
	if err := d.step("write", tmp); err != nil {
		return err
	}
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old temporary file: %w", err)
	}
	w, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = w.Write(f.data)
	err = errors.Join(err, w.Chmod(f.permissions()), w.Sync(), w.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("write file %s: %w", f.path, err), os.Remove(tmp))
	}
	return nil
}

func (d disk) rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	if err := unix.Rename(from, to); err != nil { // os.Rename refuses an empty directory as the target
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	return nil
}

func (d disk) syncDir(dir string) error {
	if err := d.step("sync", dir); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// makeDir creates dir for this user alone, or closes an existing one to others.
func (d disk) makeDir(dir string) error {
	if err := d.step("mkdir", dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory needs its execute bit
		return fmt.Errorf("close directory to others: %w", err)
	}
	return nil
}

// sweep removes the temporary files that a crash left in dir.
func (d disk) sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("find temporary files: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := d.step("remove", path); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	return nil
}

func (d disk) step(op, path string) error {
	if d.before == nil {
		return nil
	}
	return d.before(op, path)
}
