package images

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// watcher tells when a directory's files are complete: closed by their writer, moved there, or gone (inotify(7)).
type watcher struct {
	file    *os.File
	changes chan struct{} // holds one; closed when the directory is gone
	done    chan struct{}
}

const (
	fileEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	gone       = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED
)

func watch(dir string) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return nil, fmt.Errorf("create inotify instance: %w: raise fs.inotify.max_user_instances", err)
	}
	if err != nil {
		return nil, fmt.Errorf("create inotify instance: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, fileEvents|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONLYDIR); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), file.Close())
	}
	w := &watcher{file: file, changes: make(chan struct{}, 1), done: make(chan struct{})}
	go w.read()
	return w, nil
}

func (w *watcher) close() {
	w.file.Close()
	<-w.done
}

func (w *watcher) read() {
	defer close(w.done)
	defer close(w.changes)
	buffer := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := w.file.Read(buffer)
		if err != nil || ended(buffer[:n]) {
			return
		}
		select {
		case w.changes <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// ended looks for the end of the directory in events: watch, mask, cookie and length of four bytes each, then the name.
func ended(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		if binary.NativeEndian.Uint32(events[4:])&gone != 0 {
			return true
		}
		next := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		events = events[min(next, len(events)):]
	}
	return false
}
