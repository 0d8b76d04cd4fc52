package space

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Space is a network namespace.
type Space struct {
	Links *netlink.Handle // of this namespace
	ns    netns.NsHandle
	own   bool // it is that of the process
}

// Process is the namespace that the process runs in.
func Process() (*Space, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open network namespace of the process: %w", err)
	}
	return enter(ns, true)
}

// New makes a namespace with nothing in it but lo.
func New() (*Space, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open network namespace of the process: %w", err)
	}
	defer func() { _ = home.Close() }()
	ns, err := netns.New()
	if err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	if err := netns.Set(home); err != nil {
		return nil, fmt.Errorf("go back to the network namespace of the process: %w", err)
	}
	return enter(ns, false)
}

func enter(ns netns.NsHandle, own bool) (*Space, error) {
	links, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	s := &Space{Links: links, ns: ns, own: own}
	lo, err := links.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find lo: %w", err)
	}
	if err := links.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("set lo up: %w", err)
	}
	return s, nil
}

// Close lets go of the namespace.
func (s *Space) Close() {
	s.Links.Close()
	_ = s.ns.Close()
}

// Do runs f in the namespace. What f opens stays there; goroutines that f starts do not.
func (s *Space) Do(f func() error) error {
	if s.own {
		return f()
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open network namespace of the process: %w", err)
	}
	defer func() { _ = home.Close() }()
	if err := netns.Set(s.ns); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	failed := f()
	if err := netns.Set(home); err != nil {
		return fmt.Errorf("leave network namespace: %w", err) // the thread stays locked and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return failed
}

// Set writes a kernel parameter below net, such as ipv4.ip_forward; a / stands for a dot inside of a name.
func (s *Space) Set(key, value string) error {
	path := "/proc/sys/net/" + strings.NewReplacer(".", "/", "/", ".").Replace(key)
	return s.Do(func() error {
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("set net.%s to %s: %w", key, value, err)
		}
		return nil
	})
}
