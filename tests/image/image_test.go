package image

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestArchives(t *testing.T) {
	if _, err := os.Stat(busybox); err != nil {
		t.Skip("needs /bin/busybox (Debian package busybox-static)")
	}
	dir := t.TempDir()
	img, err := Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Variant(img, "other")
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{Name: img, "kedge.local/other:2": other}
	for _, c := range []struct {
		file   string
		format Format
		magic  string
		member string // a file every archive of this form has
	}{
		{"a.tar", DockerSave, "", "manifest.json"},
		{"b.tar.gz", DockerSave, "\x1f\x8b", "manifest.json"},
		{"c.tar", OCILayout, "", "oci-layout"},
		{"d.tar.zst", OCILayout, "\x28\xb5\x2f\xfd", "index.json"},
	} {
		t.Run(c.file, func(t *testing.T) {
			file := filepath.Join(dir, c.file)
			if err := Write(file, c.format, images); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(content, []byte(c.magic)) {
				t.Errorf("begins with %x, want %x", content[:4], c.magic)
			}
			if filepath.Ext(file) == ".tar" && !bytes.Contains(content, []byte(c.member)) {
				t.Errorf("has no %s", c.member)
			}
		})
	}
	tag, err := name.NewTag("kedge.local/other:2")
	if err != nil {
		t.Fatal(err)
	}
	back, err := tarball.ImageFromPath(filepath.Join(dir, "a.tar"), &tag)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := back.ConfigName()
	if want, _ := other.ConfigName(); got != want {
		t.Errorf("the archive has image %s, want %s", got, want)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if out, err := exec.Command(filepath.Join(dir, "probe"), "resolve", "127.0.0.1").CombinedOutput(); err != nil || string(out) != "127.0.0.1\n" {
		t.Errorf("probe: %q %v", out, err)
	}
}
