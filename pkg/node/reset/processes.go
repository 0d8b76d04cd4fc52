package reset

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kedge/pkg/config"
	"kedge/pkg/node/machine"
)

// shims returns the processes that hold containers of the node: programs of its own directory, and shims that were
// started for its containerd.
func shims(l config.Layout) []int {
	var out []int
	for _, pid := range machine.PIDs() {
		if pid == os.Getpid() {
			continue
		}
		exe, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
		if machine.Below(strings.TrimSuffix(exe, " (deleted)"), l.BinDir()) || serves(pid, l.ContainerdSocket()) {
			out = append(out, pid)
		}
	}
	return out
}

// serves tells whether a process was called as a shim of the containerd at socket.
func serves(pid int, socket string) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	args := strings.Split(string(text), "\x00")
	i := slices.Index(args, "-address")
	return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && i >= 0 && i+1 < len(args) && args[i+1] == socket
}

// parents maps each process to its parent.
func parents() map[int]int {
	out := map[int]int{}
	for _, pid := range machine.PIDs() {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err == nil {
			out[pid] = parseParent(string(text))
		}
	}
	return out
}

// parseParent reads "4711 (a name) S 1 …": the name may hold anything.
func parseParent(stat string) int {
	_, rest, _ := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(f[1])
	if err != nil {
		return 0
	}
	return parent
}

// descendants returns the processes below any of roots, without them.
func descendants(roots []int, parent map[int]int) []int {
	var out []int
	for pid := range parent {
		for p := parent[pid]; p > 1; p = parent[p] {
			if slices.Contains(roots, p) && !slices.Contains(roots, pid) {
				out = append(out, pid)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

// handle is a process that cannot be mistaken for a later one with the same number (pidfd_open(2)).
type handle struct{ pid, fd int }

// open returns handles of the processes that are still there and belong, as the caller can tell only after the handle
// exists.
func open(pids []int, belongs func(pid int) bool) ([]handle, error) {
	var out []handle
	var errs []error
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			continue // gone, or a thread
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("open process %d: %w", pid, err))
			continue
		}
		if !belongs(pid) {
			unix.Close(fd)
			continue
		}
		out = append(out, handle{pid, fd})
	}
	return out, errors.Join(errs...)
}

func closeAll(all []handle) {
	for _, h := range all {
		unix.Close(h.fd)
	}
}

func send(all []handle, sig unix.Signal) error {
	var errs []error
	for _, h := range all {
		if err := unix.PidfdSendSignal(h.fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), h.pid, err))
		}
	}
	return errors.Join(errs...)
}

// wait returns the processes that have not ended within the time.
func wait(all []handle, within time.Duration) []handle {
	deadline := time.Now().Add(within)
	left := slices.Clone(all)
	for len(left) > 0 {
		fds := make([]unix.PollFd, len(left))
		for i, h := range left {
			fds[i] = unix.PollFd{Fd: int32(h.fd), Events: unix.POLLIN}
		}
		remaining := time.Until(deadline)
		if remaining <= 0 {
			return left
		}
		if _, err := unix.Poll(fds, int(remaining.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return left
		}
		ended := 0
		for i := range fds {
			if fds[i].Revents != 0 {
				left = slices.Delete(left, i-ended, i-ended+1)
				ended++
			}
		}
	}
	return nil
}

// terminate asks the processes to end, waits for grace, and then ends them.
func terminate(all []handle, ask []handle, grace time.Duration, log *slog.Logger) error {
	if len(all) == 0 {
		return nil
	}
	errs := []error{send(ask, unix.SIGTERM)}
	left := wait(all, grace)
	if len(left) > 0 {
		log.Debug("processes did not end by themselves", "processes", len(left), "waited", grace)
	}
	errs = append(errs, send(left, unix.SIGKILL))
	for _, h := range wait(left, killTimeout) {
		errs = append(errs, fmt.Errorf("end process %d (%s): it did not end within %s after SIGKILL", h.pid, machine.Command(h.pid), killTimeout))
	}
	return errors.Join(errs...)
}

// killTimeout bounds the wait for a process that was killed; longer means that it hangs in the kernel.
const killTimeout = 10 * time.Second
