package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetNS runs fn on a thread in a new network namespace, which is gone afterwards.
func inNetNS(fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- onThread(fn) }()
	return <-done
}

// onThread moves the goroutine's thread there and back. A thread that cannot come back ends with its goroutine. The
// process's first thread is never used: it is the one whose namespace /proc/self shows.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		return inNetNS(fn) // this thread stays taken meanwhile, so another one is used
	}
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer unix.Close(home)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("make a network namespace to try features in: %w", err)
	}
	err = fn()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("return to own network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}
