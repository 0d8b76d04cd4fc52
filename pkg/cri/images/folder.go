package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	errBusy    = errors.New("the file is being written")
	errUnknown = errors.New("the file's name is not that of an image archive")
)

// archive is a file of the images folder.
type archive struct {
	dir, name string
	signature signature
	err       error // why it cannot be imported
}

func (a archive) path() string { return filepath.Join(a.dir, a.name) }

// signature changes when a file's content does.
type signature struct {
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // nanoseconds since 1970
	Inode    uint64 `json:"inode"`
}

func signatureOf(f interface{ Stat() (os.FileInfo, error) }) (signature, error) {
	info, err := f.Stat()
	if err != nil {
		return signature{}, fmt.Errorf("examine archive: %w", err)
	}
	s := signature{Size: info.Size(), Modified: info.ModTime().UnixNano()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode = stat.Ino
	}
	return s, nil
}

type path string

func (p path) Stat() (os.FileInfo, error) { return os.Stat(string(p)) }

// endings of names of archives. What the content is compressed with is seen from the content.
func endings() []string { return []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"} }

// archives lists the files in dir by name. Directories and hidden files, which copying programs use until a file is whole,
// are left out.
func archives(dir string) ([]archive, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list images folder: %w", err)
	}
	var out []archive
	for _, e := range entries {
		a := archive{dir: dir, name: e.Name()}
		if strings.HasPrefix(a.name, ".") || e.IsDir() {
			continue
		}
		a.signature, a.err = signatureOf(path(a.path()))
		if errors.Is(a.err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink == 0 {
			continue // gone meanwhile
		}
		if a.err == nil && !isArchive(a.name) {
			a.err = errUnknown
		}
		out = append(out, a)
	}
	return out, nil
}

func isArchive(name string) bool {
	for _, ending := range endings() {
		if strings.HasSuffix(strings.ToLower(name), ending) {
			return true
		}
	}
	return false
}

// writing tells whether anybody has the file open for writing: the kernel refuses a read lease then (fcntl(2),
// F_SETLEASE). File systems without leases are believed to hold whole files.
func writing(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK) // closing the file would do the same
	}
	return errors.Is(err, unix.EAGAIN)
}
