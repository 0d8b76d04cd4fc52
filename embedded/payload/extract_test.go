package payload

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// fake is a payload with two small programs.
func fake(t *testing.T, programs map[string]string) store {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	s := store{files: files, index: map[string]item{pauseName: {}}}
	for name, content := range programs {
		files[name+".zst"] = &fstest.MapFile{Data: encoder.EncodeAll([]byte(content), nil)}
		s.index[name] = item{SHA256: "digest of " + content, Size: int64(len(content))}
	}
	return s
}

// contents lists dir: name, mode and content of each file but the manifest.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = info.Mode().String() + " " + string(content)
	}
	delete(found, manifestName)
	return found
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	m, err := markOf(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return m.Inode
}

func TestExtract(t *testing.T) {
	want := map[string]string{"one": "-rwxr-xr-x first", "two": "-rwxr-xr-x second"}
	tests := map[string]struct {
		change   func(t *testing.T, dir string) // between the first Extract and the second
		replaced bool                           // whether the second one writes the program "one" again
	}{
		"unchanged":             {change: func(*testing.T, string) {}},
		"truncated":             {change: write("one", "fir"), replaced: true},
		"longer":                {change: write("one", "first, and more"), replaced: true},
		"same size":             {change: sameSizeAndTime, replaced: true},
		"removed":               {change: remove("one"), replaced: true},
		"mode changed":          {change: makePrivate, replaced: true},
		"half-written leftover": {change: write(".one.new", "fi")},
		"manifest lost":         {change: remove(manifestName), replaced: true},
		"manifest damaged":      {change: write(manifestName, `{"one": {"sha`), replaced: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, dir := fake(t, map[string]string{"one": "first", "two": "second"}), filepath.Join(t.TempDir(), "a", "bin")
			must(t, s.extract(dir))
			if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
				t.Fatalf("after the first (-want +got):\n%s", diff)
			}
			kept, err := os.Open(filepath.Join(dir, "one")) // holds the inode, so that its number is not used again
			must(t, err)
			defer kept.Close()
			before := inode(t, filepath.Join(dir, "one"))
			test.change(t, dir)
			must(t, s.extract(dir))
			got := contents(t, dir)
			delete(got, ".one.new")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("after the second (-want +got):\n%s", diff)
			}
			if replaced := inode(t, filepath.Join(dir, "one")) != before; replaced != test.replaced {
				t.Errorf("replaced = %v, want %v", replaced, test.replaced)
			}
		})
	}
}

func write(name, content string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755))
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		must(t, os.Remove(filepath.Join(dir, name)))
	}
}

func makePrivate(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Chmod(filepath.Join(dir, "one"), 0o600))
}

// sameSizeAndTime writes into a program in place and sets its modification time back.
func sameSizeAndTime(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "one")
	before, err := os.Stat(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte("fIrst"), 0o755))
	must(t, os.Chtimes(path, time.Time{}, before.ModTime()))
}

func TestExtractAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	must(t, fake(t, map[string]string{"one": "first", "two": "second"}).extract(dir))
	running, err := os.Open(filepath.Join(dir, "one"))
	must(t, err)
	defer running.Close()
	two := inode(t, filepath.Join(dir, "two"))

	must(t, fake(t, map[string]string{"one": "FIRST", "two": "second"}).extract(dir))

	old := make([]byte, 5)
	if _, err := running.ReadAt(old, 0); err != nil || string(old) != "first" {
		t.Errorf("the running program's file holds %q (%v), want it untouched", old, err)
	}
	if diff := cmp.Diff(map[string]string{"one": "-rwxr-xr-x FIRST", "two": "-rwxr-xr-x second"}, contents(t, dir)); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
	if inode(t, filepath.Join(dir, "two")) != two {
		t.Error("the program that did not change was replaced")
	}
}

func TestExtractDamagedPayload(t *testing.T) {
	s, dir := fake(t, map[string]string{"one": "first"}), t.TempDir()
	s.index["one"] = item{SHA256: "another", Size: 6}
	want := "unpack program: write " + dir + "/.one.new: got 5 bytes, want 6: the kedge executable is damaged, install it again"
	if got := errorText(s.extract(dir)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if diff := cmp.Diff(map[string]string{}, contents(t, dir)); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
}

func TestExtractDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a file system of its own")
	}
	dir := smallFilesystem(t, "64k")
	s := fake(t, map[string]string{"one": "first"})
	must(t, s.extract(dir))

	grown := fake(t, map[string]string{"one": strings.Repeat("x", 1_500_000)})
	err := grown.extract(dir)

	want := "unpack program: write " + dir + "/.one.new: write " + dir + "/.one.new: no space left on device\n" +
		dir + " needs 2 MB for programs: free some space or choose another place with --data-dir"
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if diff := cmp.Diff(map[string]string{"one": "-rwxr-xr-x first"}, contents(t, dir)); diff != "" {
		t.Errorf("the former program is not whole (-want +got):\n%s", diff)
	}
}

// smallFilesystem returns the root of a tmpfs that is mounted nowhere and vanishes with the test.
func smallFilesystem(t *testing.T, size string) string {
	t.Helper()
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	must(t, err)
	defer unix.Close(fs)
	must(t, unix.FsconfigSetString(fs, "size", size))
	must(t, unix.FsconfigCreate(fs))
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(mount) })
	return "/proc/self/fd/" + strconv.Itoa(mount)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
