package reset

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/pkg/node/machine"
)

// inventory is what tells this node's things from those of another on the machine. It is read before anything is
// deleted.
type inventory struct {
	pods       map[string]bool // UIDs, from the kubelet's directory
	containers map[string]bool // IDs, from containerd's
	roots      []string        // cgroups that hold the pods'
}

func (o Options) inventory(f machine.Facts) inventory {
	l := o.Layout
	inv := inventory{pods: map[string]bool{}, containers: map[string]bool{}, roots: kubepods(f.Cgroups)}
	for _, name := range names(filepath.Join(l.KubeletDir, "pods")) {
		inv.pods[name] = true
	}
	tasks := filepath.Join(l.ContainerdState(), "io.containerd.runtime.v2.task")
	for _, namespace := range names(tasks) {
		for _, name := range names(filepath.Join(tasks, namespace)) {
			inv.containers[name] = true
		}
	}
	return inv
}

func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // what cannot be read is not known to be ours
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// own returns the pods' cgroups that are this node's or nobody's: the kubelet knows the pod, containerd a container in
// it, one of the processes is below a shim of ours, or there is no process.
func (inv inventory) own(all []podCgroup, processes []int) []podCgroup {
	return slices.DeleteFunc(slices.Clone(all), func(p podCgroup) bool {
		in := members(p.dir)
		known := inv.pods[p.uid] || len(in) == 0 || inv.knowsContainer(p.dir) ||
			slices.ContainsFunc(in, func(pid int) bool { return slices.Contains(processes, pid) })
		return !known
	})
}

// knowsContainer looks for a container's cgroup: named by the ID, or cri-containerd-ID.scope.
func (inv inventory) knowsContainer(dir string) bool {
	return slices.ContainsFunc(names(dir), func(name string) bool {
		id := strings.TrimSuffix(strings.TrimPrefix(name, "cri-containerd-"), ".scope")
		return inv.containers[id]
	})
}
