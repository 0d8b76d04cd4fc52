package preflight

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kedge/pkg/node/machine"
)

// freeCgroupRoot moves the processes of a container's root cgroup out of it: in cgroup v2 a cgroup that holds processes
// cannot have children with limits (cgroups(7), no internal processes). The machine's own root is exempt from the rule,
// and where systemd manages cgroups the root is not ours.
func freeCgroupRoot(f machine.Facts) error {
	h, ok := f.Unified()
	if f.CgroupVersion != 2 || f.Systemd || !f.Contained || !ok || h.Root != "/" || h.ReadOnly {
		return nil
	}
	if _, err := os.Stat(filepath.Join(h.Mount, "cgroup.type")); err != nil {
		return nil // only the machine's root has no type
	}
	return evacuate(h.Mount)
}

// evacuate moves all processes of a cgroup to its child "init" and hands its controllers down.
func evacuate(root string) error {
	child := filepath.Join(root, "init")
	if err := os.Mkdir(child, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	const attempts = 10 // new processes may appear meanwhile
	for range attempts {
		pids, err := processes(root)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if err := write(filepath.Join(child, "cgroup.procs"), strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("move process %d out of the root cgroup: %w", pid, err)
			}
		}
	}
	return delegate(root)
}

// processes lists those that this PID namespace sees; others are written as 0.
func processes(cgroup string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup: %w", err)
	}
	var pids []int
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func delegate(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("list cgroup controllers: %w", err)
	}
	var errs []error
	for c := range strings.FieldsSeq(string(text)) {
		if err := write(filepath.Join(root, "cgroup.subtree_control"), "+"+c); err != nil {
			errs = append(errs, fmt.Errorf("enable cgroup controller %s for containers: %w", c, err))
		}
	}
	return errors.Join(errs...)
}

func write(file, text string) error { return os.WriteFile(file, []byte(text), 0) }
