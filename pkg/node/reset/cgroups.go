package reset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kedge/pkg/node/machine"
)

// podPattern matches the directory of a pod's cgroup as the kubelet names it, with either driver.
var podPattern = regexp.MustCompile(`^(?:kubepods(?:-besteffort|-burstable)?-)?pod([0-9a-f][0-9a-f_-]+)(?:\.slice)?$`)

// podCgroup is the cgroup of a pod in one hierarchy.
type podCgroup struct {
	dir string
	uid string
}

// kubepods returns the roots of the pods' cgroups in all hierarchies that this process sees.
func kubepods(all []machine.Hierarchy) []string {
	var out []string
	for _, h := range all {
		for _, name := range []string{"kubepods", "kubepods.slice"} {
			dir := filepath.Join(h.Mount, name)
			if fi, err := os.Lstat(dir); err == nil && fi.IsDir() && !h.ReadOnly {
				out = append(out, dir)
			}
		}
	}
	return out
}

// podCgroups finds the pods' cgroups below the roots.
func podCgroups(roots []string) []podCgroup {
	var out []podCgroup
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // what vanishes needs no removal
			if err != nil || !d.IsDir() {
				return nil
			}
			if m := podPattern.FindStringSubmatch(d.Name()); m != nil {
				out = append(out, podCgroup{path, strings.ReplaceAll(m[1], "_", "-")})
				return fs.SkipDir
			}
			return nil
		})
	}
	return out
}

// tree returns a cgroup and those below it, the deepest first.
func tree(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	slices.Reverse(out)
	return out
}

// members returns the processes of a cgroup and of those below it.
func members(dir string) []int {
	var out []int
	for _, d := range tree(dir) {
		text, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid != 0 {
				out = append(out, pid)
			}
		}
	}
	return out
}

// thaw lets the processes of paused containers run, or they would not take a signal.
func thaw(dir string) {
	for _, d := range tree(dir) {
		for file, value := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
			if path := filepath.Join(d, file); unix.Access(path, unix.W_OK) == nil {
				_ = os.WriteFile(path, []byte(value), 0) // what stays frozen is reported when it does not end
			}
		}
	}
}

// removeCgroup removes a cgroup and those below it. The kernel may count processes for a moment after they ended.
func removeCgroup(dir string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(5 * time.Second)
	defer timeout.Stop()
	for {
		err := rmdirAll(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return err
		}
	}
}

func rmdirAll(dir string) error {
	var errs []error
	for _, d := range tree(dir) {
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", d, err))
		}
	}
	return errors.Join(errs...)
}

// removeEmpty removes what has become empty below the roots and the roots themselves; what others use stays.
func removeEmpty(roots []string) {
	for _, root := range roots {
		_ = rmdirAll(root)
	}
}
