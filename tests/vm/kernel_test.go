package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// kernel is Debian's small kernel for virtual machines, unpacked.
type kernel struct {
	image   string // the file to boot
	modules string // lib/modules/VERSION
	version string
}

// debianKernel unpacks the kernel package into the user's cache directory, unless it is there already.
func debianKernel(t *testing.T) kernel {
	t.Helper()
	newest := regexp.MustCompile(`Depends: (linux-image-([0-9]\S+))`)
	const depends = "apt-cache depends linux-image-cloud-amd64 2>/dev/null"
	list := command(t, "", "sh", "-c", depends+" || { apt-get -q update >&2 && "+depends+"; }")
	m := newest.FindStringSubmatch(list)
	if m == nil {
		t.Fatalf("apt knows no kernel for virtual machines:\n%s", list)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "kedge-vm", m[1])
	k := kernel{image: filepath.Join(dir, "boot", "vmlinuz-"+m[2]), modules: filepath.Join(dir, "lib", "modules", m[2]), version: m[2]}
	if _, err := os.Stat(dir); err == nil {
		return k
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".unpack-") //nolint:usetesting // what is in it is moved to dir: one file system
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	command(t, work, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", m[1])
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("downloaded %v, %v", debs, err)
	}
	command(t, work, "dpkg-deb", "-x", debs[0], "root")
	command(t, work, "depmod", "-b", "root", m[2])
	if err := os.Rename(filepath.Join(work, "root"), dir); err != nil {
		t.Fatal(err)
	}
	return k
}

// closure lists modules and what they depend on, as paths below the modules directory.
func (k kernel) closure(t *testing.T, names ...string) []string {
	t.Helper()
	deps, err := os.ReadFile(filepath.Join(k.modules, "modules.dep"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, name := range names {
		for line := range strings.Lines(string(deps)) {
			file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
			if strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) == name {
				files = append(append(files, file), strings.Fields(needs)...)
			}
		}
	}
	return files // what is not listed is built in
}

// initrd packs busybox, the modules that the disk needs and the first script.
func initrd(t *testing.T, k kernel, dir string) string {
	t.Helper()
	root := filepath.Join(dir, "initrd")
	lib := filepath.Join("lib", "modules", k.version)
	install(t, "/bin/busybox", filepath.Join(root, "bin", "busybox"))
	install(t, "testdata/initrd.sh", filepath.Join(root, "init"))
	for _, file := range k.closure(t, "virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "crc32c-intel", "libcrc32c") {
		install(t, filepath.Join(k.modules, file), filepath.Join(root, lib, file))
	}
	for _, index := range []string{"modules.builtin", "modules.order"} {
		install(t, filepath.Join(k.modules, index), filepath.Join(root, lib, index))
	}
	command(t, root, "depmod", "-b", root, k.version)
	out := filepath.Join(dir, "initrd.cpio")
	command(t, root, "sh", "-ec", "find . | cpio -o -H newc --quiet -R 0:0 > "+out)
	return out
}

// install links or copies a file, making directories; scripts become executable.
func install(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	mode := info.Mode().Perm()
	if filepath.Ext(from) == ".sh" {
		mode = 0o755
	} else if os.Link(from, to) == nil {
		return
	}
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program of the machine that builds the virtual one.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
