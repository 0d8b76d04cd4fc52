package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"kedge/pkg/node/machine"
)

// Holder tells who holds a lock.
type Holder struct {
	PID     int       `json:"pid"` // 0 when it is in a PID namespace that cannot be seen from here
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// HeldError is returned by Acquire when another process holds the lock.
type HeldError struct {
	Path   string
	Holder Holder
}

func (e *HeldError) Error() string {
	h := e.Holder
	who := "a process that cannot be seen from here"
	if h.PID != 0 {
		who = fmt.Sprintf("process %d (%s)", h.PID, h.Command)
	}
	since := ""
	if !h.Since.IsZero() {
		since = " since " + h.Since.Local().Format(time.RFC3339)
	}
	return fmt.Sprintf("lock %s: held by %s%s; stop it first, or use another --data-dir", e.Path, who, since)
}

// Lock is a held lock.
type Lock struct{ file *os.File }

// Acquire takes the lock at path and writes that this process, described by command, holds it; the directory is made
// when it is missing. It does not wait: when the lock is held the error is a *HeldError.
func Acquire(path, command string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make directory of lock: %w", err)
	}
	for {
		file, err := open(path, os.O_RDWR|os.O_CREATE)
		if err != nil {
			return nil, err
		}
		err = exclusive(file)
		if errors.Is(err, unix.EWOULDBLOCK) {
			defer file.Close()
			return nil, &HeldError{Path: path, Holder: holder(file)}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		if !current(file, path) { // removed by the former holder between open and lock
			file.Close()
			continue
		}
		l := &Lock{file: file}
		if err := l.sign(command); err != nil {
			return nil, errors.Join(err, l.Release())
		}
		return l, nil
	}
}

// Release gives the lock up. The file stays and is empty.
func (l *Lock) Release() error {
	return errors.Join(wrap("empty lock", l.file.Truncate(0)), wrap("close lock", l.file.Close()))
}

// Running returns who holds the lock at path, nil when nobody does or there is no such file.
func Running(path string) (*Holder, error) {
	file, err := open(path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	err = flock(file, unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		h := holder(file)
		return &h, nil
	}
	return nil, wrap("try lock "+path, err)
}

func (l *Lock) sign(command string) error {
	text, err := json.Marshal(Holder{PID: os.Getpid(), Command: command, Since: time.Now().Truncate(time.Second)})
	if err != nil {
		return fmt.Errorf("describe holder of lock: %w", err)
	}
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write holder of lock: %w", err)
	}
	if _, err := l.file.WriteAt(append(text, '\n'), 0); err != nil {
		return fmt.Errorf("write holder of lock: %w", err)
	}
	return nil
}

// holder believes the kernel about the process and the file about the rest, when both mean the same process.
func holder(file *os.File) Holder {
	var written Holder
	if text, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", file.Fd())); err == nil {
		_ = json.Unmarshal(text, &written) // an unsigned or damaged file leaves the zero value
	}
	pid, found := kernelHolder(file)
	switch {
	case !found:
		return written
	case pid == written.PID && pid != 0:
		return written
	default:
		return Holder{PID: pid, Command: machine.Command(pid)}
	}
}

func open(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return file, nil
}

// exclusive takes the lock without waiting for a holder. A look by Running takes it for microseconds; that one is
// outwaited.
func exclusive(file *os.File) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 20 {
		err := flock(file, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if _, found := kernelHolder(file); found {
			return err
		}
		<-tick.C
	}
	return unix.EWOULDBLOCK
}

func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// current tells whether path still names the open file.
func current(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
