package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	leafCgroup = "init" // on cgroup v2 a host's own processes live here, so that its root can have children with controllers
)

// hierarchy is one mounted cgroup hierarchy of the machine.
type hierarchy struct {
	Name    string // the name of the mount point: "memory", "unified"
	Options string // what mounts it again: "memory", "none,name=systemd"
	Own     string // the directory under which labs are made
	V2      bool
}

// hierarchies lists each hierarchy once, in the order of the machine's mounts.
func hierarchies() ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("read own cgroups: %w", err)
	}
	var found []hierarchy
	for line := range strings.Lines(string(mounts)) {
		h, ok := parseHierarchy(line, string(own))
		if ok && !slices.ContainsFunc(found, func(o hierarchy) bool { return o.Options == h.Options && o.V2 == h.V2 }) {
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("find cgroups: no hierarchy is mounted")
	}
	return found, nil
}

// parseHierarchy reads one line of mountinfo: "29 23 0:26 ROOT MOUNT rw shared:4 - cgroup cgroup rw,memory".
func parseHierarchy(line, own string) (hierarchy, bool) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 5 || len(right) < 3 || right[0] != "cgroup" && right[0] != "cgroup2" {
		return hierarchy{}, false
	}
	h := hierarchy{Name: filepath.Base(left[4]), V2: right[0] == "cgroup2"}
	var controllers []string
	for o := range strings.SplitSeq(right[2], ",") {
		if o != "rw" && o != "ro" && !strings.HasPrefix(o, "release_agent=") {
			controllers = append(controllers, o)
		}
	}
	key := strings.Join(controllers, ",")
	h.Options = key
	if strings.HasPrefix(key, "name=") {
		h.Options = "none," + key
	}
	if h.V2 {
		key, h.Options = "", ""
	}
	for entry := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(entry), ":", 3)
		if len(parts) != 3 || parts[1] != key {
			continue
		}
		rel, err := filepath.Rel(left[3], parts[2])
		if err != nil || strings.HasPrefix(rel, "..") {
			rel = "."
		}
		h.Own = filepath.Join(left[4], rel)
		if h.V2 {
			h.Own = withoutProcesses(left[4], h.Own)
		}
		_, err = os.Stat(h.Own)
		return h, err == nil
	}
	return hierarchy{}, false
}

// withoutProcesses climbs from dir to the nearest cgroup that may give controllers to its children.
func withoutProcesses(root, dir string) string {
	for dir != root {
		if procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err == nil && len(procs) == 0 {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return root
}

// makeCgroups makes the cgroup LAB/HOST in every hierarchy and returns their directories in the same order.
func makeCgroups(all []hierarchy, lab, host string) ([]string, error) {
	var dirs []string
	for _, h := range all {
		dir := h.Own
		for _, name := range []string{lab, host} {
			if h.V2 && len(all) == 1 {
				if err := enableControllers(dir); err != nil {
					return dirs, err
				}
			}
			parent := dir
			dir = filepath.Join(dir, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return dirs, fmt.Errorf("make cgroup: %w", err)
			}
			if err := inheritCPUs(parent, dir); err != nil {
				return dirs, err
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// inheritCPUs fills a new cpuset of cgroup v1, which is empty and holds no process until it has CPUs and memory nodes.
func inheritCPUs(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if _, err := os.Stat(filepath.Join(dir, "cpuset.cpu_exclusive")); err != nil {
			return nil
		}
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), value, 0)
		}
		if err != nil {
			return fmt.Errorf("fill cpuset: %w", err)
		}
	}
	return nil
}

func enableControllers(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read cgroup controllers: %w", err)
	}
	for c := range strings.FieldsSeq(string(available)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("enable cgroup controller %s in %s: %w", c, dir, err)
		}
	}
	return nil
}

// enterCgroups puts a process into every one of dirs.
func enterCgroups(dirs []string, pid int) error {
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("enter cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// removeCgroups removes the trees below and including dirs, killing what still runs there.
// The kernel may need a moment after the last process of a cgroup is gone.
func removeCgroups(dirs []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() error {
		var errs []error
		for _, dir := range dirs {
			errs = append(errs, removeCgroupTree(dir))
		}
		return errors.Join(errs...)
	})
}

func removeCgroupTree(dir string) error {
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, p)
		}
		return nil
	})
	for _, d := range slices.Backward(all) {
		procs, _ := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		for p := range strings.FieldsSeq(string(procs)) {
			if pid, err := strconv.Atoi(p); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if e := unix.Rmdir(d); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = fmt.Errorf("remove cgroup %s: %w", d, e)
		}
	}
	return err
}

// hasProcesses tells whether a process is in dir or below.
func hasProcesses(dir string) bool {
	found := false
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == "cgroup.procs" {
			procs, err := os.ReadFile(p)
			found = found || err != nil || len(procs) > 0
		}
		return nil
	})
	return found
}
