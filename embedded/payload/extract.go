package payload

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

const programMode = 0o755

func (s store) extract(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create directory for programs: %w", err)
	}
	stale := s.stale(dir)
	if len(stale) == 0 {
		return nil
	}
	if err := s.unpackAll(dir, stale); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return s.record(dir)
}

// programs are the names of everything that Extract unpacks.
func (s store) programs() []string {
	names := slices.Sorted(maps.Keys(s.index))
	return slices.DeleteFunc(names, func(name string) bool { return name == pauseName })
}

// stale lists the programs in dir that are not known to be those of the payload.
func (s store) stale(dir string) []string {
	seen := readManifest(dir)
	return slices.DeleteFunc(s.programs(), func(name string) bool {
		mark, err := markOf(filepath.Join(dir, name), s.index[name].SHA256)
		return err == nil && mark == seen[name]
	})
}

// unpackAll unpacks the programs at once: most of the time goes to decompression and to waiting for the disk.
func (s store) unpackAll(dir string, names []string) error {
	failed := make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { failed[i] = s.unpack(dir, name) })
	}
	group.Wait()
	err := errors.Join(failed...)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w\n%s needs %d MB for programs: free some space or choose another place with --data-dir", err, dir, s.megabytes())
	}
	return err
}

func (s store) unpack(dir, name string) error {
	content, err := s.reader(name)
	if err != nil {
		return err
	}
	defer content.Close()
	if err := replaceFile(filepath.Join(dir, name), content, s.index[name].Size); err != nil {
		return fmt.Errorf("unpack program: %w", err)
	}
	return nil
}

// megabytes is the space that all programs take, rounded up.
func (s store) megabytes() int64 {
	var total int64
	for _, name := range s.programs() {
		total += s.index[name].Size
	}
	return total/1_000_000 + 1
}

// replaceFile makes path a durable executable file with size bytes of content, or leaves it as it was.
func replaceFile(path string, content io.Reader, size int64) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := writeFile(temporary, content, size); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, path)
}

func writeFile(path string, content io.Reader, size int64) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, programMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	written, err := io.Copy(file, content)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if written != size {
		return fmt.Errorf("write %s: got %d bytes, want %d: the kedge executable is damaged, install it again", path, written, size)
	}
	if err := file.Chmod(programMode); err != nil {
		return err
	}
	return file.Sync()
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open directory of programs: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("flush directory of programs: %w", err)
	}
	return nil
}
