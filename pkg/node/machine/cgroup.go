package machine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// CgroupMount is where the kubelet and runc look for cgroups.
const CgroupMount = "/sys/fs/cgroup"

// Hierarchy is one mounted cgroup hierarchy.
type Hierarchy struct {
	Version     int      // 1 or 2
	Controllers []string // those that can be used in it, sorted; "name=systemd" for a named one
	Mount       string   // mount point
	Root        string   // the path inside the hierarchy that is mounted there
	Path        string   // this process's cgroup, as /proc/self/cgroup shows it
	ReadOnly    bool
}

// Dir is the directory of this process's cgroup.
func (h Hierarchy) Dir() string {
	if h.Root == "/" {
		return filepath.Join(h.Mount, h.Path)
	}
	if rest, ok := strings.CutPrefix(h.Path, h.Root); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(h.Mount, rest)
	}
	return h.Mount
}

// Controller returns the hierarchy of the controller named.
func (f Facts) Controller(name string) (Hierarchy, bool) {
	i := slices.IndexFunc(f.Cgroups, func(h Hierarchy) bool { return slices.Contains(h.Controllers, name) })
	if i < 0 {
		return Hierarchy{}, false
	}
	return f.Cgroups[i], true
}

// Unified returns the cgroup v2 hierarchy.
func (f Facts) Unified() (Hierarchy, bool) {
	i := slices.IndexFunc(f.Cgroups, func(h Hierarchy) bool { return h.Version == 2 })
	if i < 0 {
		return Hierarchy{}, false
	}
	return f.Cgroups[i], true
}

// hierarchies joins the mounts with the text of /proc/self/cgroup (cgroups(7)). A hierarchy that is mounted
// twice is listed where it was mounted last on CgroupMount, else last anywhere.
func hierarchies(mounts []*mountinfo.Info, own string) []Hierarchy {
	paths := ownPaths(own)
	var all []Hierarchy
	for _, m := range mounts {
		h := Hierarchy{Mount: m.Mountpoint, Root: m.Root}
		switch m.FSType {
		case "cgroup2":
			h.Version, h.Path = 2, paths[""]
			h.Controllers = words(filepath.Join(h.Mount, "cgroup.controllers"))
		case "cgroup":
			h.Version = 1
			h.Controllers, h.Path = v1Controllers(m.VFSOptions, paths)
		default:
			continue
		}
		h.ReadOnly = slices.Contains(strings.Split(m.Options, ","), "ro")
		all = add(all, h)
	}
	return all
}

func add(all []Hierarchy, h Hierarchy) []Hierarchy {
	same := func(o Hierarchy) bool {
		return o.Version == h.Version && (h.Version == 2 || slices.Equal(o.Controllers, h.Controllers))
	}
	i := slices.IndexFunc(all, same)
	if i < 0 {
		return append(all, h)
	}
	if inside(h.Mount) || !inside(all[i].Mount) {
		all[i] = h
	}
	return all
}

func inside(mount string) bool {
	return mount == CgroupMount || strings.HasPrefix(mount, CgroupMount+"/")
}

// v1Controllers picks the controllers from the options of a superblock: what /proc/self/cgroup names too.
func v1Controllers(options string, paths map[string]string) ([]string, string) {
	var controllers []string
	path := "/"
	for o := range strings.SplitSeq(options, ",") {
		if p, ok := paths[o]; ok && o != "" {
			controllers = append(controllers, o)
			path = p
		}
	}
	slices.Sort(controllers)
	return controllers, path
}

// ownPaths maps each controller to this process's path; "" is cgroup v2.
func ownPaths(text string) map[string]string {
	paths := map[string]string{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for c := range strings.SplitSeq(parts[1], ",") {
			paths[c] = parts[2]
		}
	}
	return paths
}

// version is what the kubelet and runc will conclude: they look at the file system of CgroupMount.
func version(all []Hierarchy) int {
	if slices.ContainsFunc(all, func(h Hierarchy) bool { return h.Version == 2 && h.Mount == CgroupMount }) {
		return 2
	}
	if slices.ContainsFunc(all, func(h Hierarchy) bool { return h.Version == 1 && inside(h.Mount) }) {
		return 1
	}
	return 0
}

func words(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	w := strings.Fields(string(text))
	slices.Sort(w)
	return w
}
