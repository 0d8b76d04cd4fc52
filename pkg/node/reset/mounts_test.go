package reset

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// What a user mounted into a pod's volume survives a reset, whatever kind of mount it is.
func TestForeignFilesSurvive(t *testing.T) {
	base, ok := inside(t)
	if !ok {
		return
	}
	o := options(t, base)
	l := o.Layout
	mkdir(t, l.BinDir())
	touch(t, o.Kubeconfig)
	volumes := mkdir(t, l.KubeletDir, "pods", "1111", "volumes")

	disk := mkdir(t, base, "disk") // a file system of its own
	mount(t, "tmpfs", disk, "tmpfs", 0)
	onDisk := touch(t, disk, "deep", "file")
	mount(t, disk, mkdir(t, volumes, "disk"), "", unix.MS_BIND)

	same := touch(t, base, "home", "user", "file") // a directory of the same file system
	mount(t, filepath.Join(base, "home"), mkdir(t, volumes, "same"), "", unix.MS_BIND)
	mount(t, filepath.Join(base, "home"), mkdir(t, l.RunDir, "again"), "", unix.MS_BIND)

	single := touch(t, base, "home", "hosts") // a file
	mount(t, single, touch(t, l.KubeletDir, "pods", "1111", "etc-hosts"), "", unix.MS_BIND)

	tree := mkdir(t, base, "tree") // a tree of shared mounts: unmounting below the copy would reach the original
	mount(t, "tmpfs", tree, "tmpfs", 0)
	mount(t, "", tree, "", unix.MS_SHARED)
	mount(t, "tmpfs", mkdir(t, tree, "sub"), "tmpfs", 0)
	inTree := touch(t, tree, "sub", "file")
	mount(t, tree, mkdir(t, volumes, "tree"), "", unix.MS_BIND|unix.MS_REC)

	twice := mkdir(t, volumes, "twice") // two mounts on one point, and one that is covered
	mount(t, disk, twice, "", unix.MS_BIND)
	mount(t, "tmpfs", twice, "tmpfs", 0)
	mkdir(t, l.DataDir, "covered", "below")
	mount(t, disk, filepath.Join(l.DataDir, "covered", "below"), "", unix.MS_BIND)
	mount(t, disk, filepath.Join(l.DataDir, "covered"), "", unix.MS_BIND)

	for _, link := range []string{filepath.Join(l.DataDir, "link"), filepath.Join(l.KubeletDir, "link")} {
		if err := os.Symlink(filepath.Join(base, "home"), link); err != nil {
			t.Fatal(err)
		}
	}

	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{onDisk, same, single, inTree} {
		wantFile(t, file)
	}
	wantGone(t, l.DataDir)
	wantGone(t, o.Kubeconfig)
	if err := Run(t.Context(), o); err != nil {
		t.Errorf("second run: %v", err)
	}
}

// When something cannot be unmounted, deletion goes around it: by the id of the mount, as the device is the same.
func TestDeletionDoesNotCrossMounts(t *testing.T) {
	base, ok := inside(t)
	if !ok {
		return
	}
	same := touch(t, base, "home", "file")
	single := touch(t, base, "home", "single")
	top := mkdir(t, base, "top")
	touch(t, top, "a", "b", "gone")
	mount(t, filepath.Join(base, "home"), mkdir(t, top, "a", "b", "same"), "", unix.MS_BIND)
	mount(t, "tmpfs", mkdir(t, top, "c", "disk"), "tmpfs", 0)
	onDisk := touch(t, top, "c", "disk", "file")
	mount(t, single, touch(t, top, "file"), "", unix.MS_BIND)

	err := removeTree(top)
	want := []string{
		"delete " + top + "/file: something is mounted there; unmount it and reset again",
		"leave directory " + top + "/a/b/same: something is mounted there; unmount it and reset again",
		"leave directory " + top + "/c/disk: something is mounted there; unmount it and reset again",
	}
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, file := range []string{same, onDisk, single} {
		wantFile(t, file)
	}
	wantGone(t, filepath.Join(top, "a", "b", "gone"))
}

// A data directory that is a mount point or a symbolic link loses its content only.
func TestDataDirectoryThatIsAMount(t *testing.T) {
	base, ok := inside(t)
	if !ok {
		return
	}
	for _, kind := range []string{"mount", "link"} {
		o := options(t, mkdir(t, base, kind))
		disk := mkdir(t, base, kind, "disk")
		if kind == "mount" {
			mkdir(t, o.Layout.DataDir)
			mount(t, disk, o.Layout.DataDir, "", unix.MS_BIND)
		} else if err := os.Symlink(disk, o.Layout.DataDir); err != nil {
			t.Fatal(err)
		}
		touch(t, o.Layout.BinDir(), "runc")
		mount(t, "tmpfs", mkdir(t, o.Layout.KubeletDir, "pods", "1", "volumes"), "tmpfs", 0)
		for range 2 {
			if err := Run(t.Context(), o); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			if left := names(o.Layout.DataDir); len(left) != 0 {
				t.Errorf("%s: left %v", kind, left)
			}
		}
		if _, err := os.Stat(disk); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestMountIDWithoutStatx(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	p, err := placeOf(int(dir.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	id, err := mountID(int(dir.Fd()))
	if err != nil || id != p.mount {
		t.Errorf("statx says %d, /proc %d, %v", p.mount, id, err)
	}
}

const sampleMounts = `27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
30 27 8:1 / /mnt/usb rw shared:7 - ext4 /dev/sda1 rw
31 30 8:2 / /mnt/usb/sub rw shared:8 - xfs /dev/sda2 rw
40 27 0:40 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/s rw shared:20 - tmpfs tmpfs rw
41 27 8:1 / /var/lib/kubelet/pods/u/volumes/v/usb rw shared:7 - ext4 /dev/sda1 rw
42 41 8:2 / /var/lib/kubelet/pods/u/volumes/v/usb/sub rw shared:8 - xfs /dev/sda2 rw
43 27 254:0 /home/user /var/lib/kubelet/pods/u/volumes/v/home rw shared:1 - ext4 /dev/vda rw
44 27 254:0 /var/lib/kubelet/pods/u/volumes/e /var/lib/kubelet/pods/u/volume-subpaths/e rw - ext4 /dev/vda rw
45 27 0:41 / /run/kedge/containerd/x/rootfs rw - overlay overlay rw
46 27 0:42 / /var/lib/kubeletx rw - tmpfs tmpfs rw
47 27 0:43 / /var/lib/kubelet/gone//deleted rw - tmpfs tmpfs rw
`

func TestClassifyMounts(t *testing.T) {
	all, err := mountinfo.GetMountsFromReader(strings.NewReader(sampleMounts), nil)
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{"/var/lib/kubelet", "/run/kedge", "/var/lib/kedge"}
	below := mountsBelow(all, dirs)
	var got []string
	for _, m := range below {
		text := strings.TrimPrefix(m.Mountpoint, "/var/lib/kubelet/pods/u/")
		if foreign(m, all, dirs) {
			text += " foreign"
		}
		if slices.Contains(leaking(below, all), m) {
			text += " leaking"
		}
		got = append(got, text)
	}
	want := []string{
		"volumes/v/usb/sub foreign leaking", "volumes/kubernetes.io~secret/s", "volumes/v/usb foreign leaking",
		"volumes/v/home foreign leaking", "volume-subpaths/e", "/run/kedge/containerd/x/rootfs",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRemoveContentRefusesLinks(t *testing.T) {
	base := t.TempDir()
	file := touch(t, base, "home", "file")
	link := filepath.Join(base, "link")
	if err := os.Symlink(filepath.Join(base, "home"), link); err != nil {
		t.Fatal(err)
	}
	if err := removeContent(link, nil); !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		t.Errorf("got %v", err)
	}
	wantFile(t, file)
	if err := removeContent(filepath.Join(base, "none"), nil); err != nil {
		t.Errorf("missing directory: %v", err)
	}
}
