package host

import (
	"fmt"
	"os"
	"path/filepath"
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
	v2      string // the cgroup v2 directory among cgroups, "" for none
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

// inside runs fn on a thread in all of the place's namespaces and cgroup v1 hierarchies; processes it starts inherit them.
func (p *place) inside(fn func() error) error {
	return onThread(func() error {
		for _, dir := range p.cgroups {
			if dir == p.v2 {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "tasks"), []byte("0"), 0); err != nil {
				return fmt.Errorf("enter cgroup %s: %w", dir, err)
			}
		}
		// A thread may change its mount namespace only when it does not share its root with others.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare file system attributes: %w", err)
		}
		const all = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP
		if err := unix.Setns(int(p.init.Fd()), all); err != nil {
			return fmt.Errorf("enter namespaces of the host: %w", err)
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
