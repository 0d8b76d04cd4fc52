package host

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs fn on an operating system thread that is thrown away afterwards, so that fn may change the thread's
// namespaces. The main thread cannot be thrown away and is never used.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			done <- onThread(fn) // another thread: this one is taken
			runtime.UnlockOSThread()
			return
		}
		done <- fn() // ends locked, which ends the thread
	}()
	return <-done
}

// place is a set of namespaces and cgroups in which the test binary can start processes and open sockets.
type place struct {
	net     *os.File // the network namespace
	init    *os.File // pidfd of PID 1
	cgroups []string
	home    string
}

// inNet runs fn on a thread in the place's network namespace. Sockets that fn opens stay there.
func (p *place) inNet(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(p.net.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// inPIDs runs fn on a thread whose children are in the place's PID namespace.
func (p *place) inPIDs(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(p.init.Fd()), unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("enter PID namespace: %w", err)
		}
		return fn()
	})
}

func (p *place) close() {
	p.net.Close()
	if p.init != nil {
		p.init.Close()
	}
}
