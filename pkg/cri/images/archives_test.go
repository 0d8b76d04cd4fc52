package images_test

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newImage is for one architecture and has two layers.
func newImage(t *testing.T, architecture string) v1.Image {
	t.Helper()
	img := must[v1.Image](t)(random.Image(20_000, 2))
	file := must[*v1.ConfigFile](t)(img.ConfigFile())
	file.OS, file.Architecture = "linux", architecture
	return must[v1.Image](t)(mutate.ConfigFile(img, file))
}

// dockerSave makes what `docker save` makes.
func dockerSave(t *testing.T, names ...string) []byte {
	t.Helper()
	images := map[name.Tag]v1.Image{}
	for _, n := range names {
		images[must[name.Tag](t)(name.NewTag(n))] = newImage(t, runtime.GOARCH)
	}
	var b bytes.Buffer
	if err := tarball.MultiWrite(images, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ociLayout makes an OCI layout with one image under annotations; drop chooses files that are left out.
func ociLayout(t *testing.T, img mutate.Appendable, annotations map[string]string, drop func(file string) bool) []byte {
	t.Helper()
	dir := t.TempDir()
	p := must[layout.Path](t)(layout.Write(dir, empty.Index))
	var err error
	switch img := img.(type) {
	case v1.ImageIndex:
		err = p.AppendIndex(img, layout.WithAnnotations(annotations))
	case v1.Image:
		err = p.AppendImage(img, layout.WithAnnotations(annotations))
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || drop != nil && drop(filepath.Base(file)) {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(file, dir+"/"), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// multiArch is an index of images for architectures.
func multiArch(t *testing.T, architectures ...string) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, a := range architectures {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: newImage(t, a), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: a}},
		})
	}
	return index
}

func otherArchitecture() string {
	if runtime.GOARCH == "s390x" {
		return "arm64"
	}
	return "s390x"
}

// filesOf returns the blobs of the image for architecture in an index.
func filesOf(t *testing.T, index v1.ImageIndex, architecture string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, m := range must[*v1.IndexManifest](t)(index.IndexManifest()).Manifests {
		if m.Platform.Architecture != architecture {
			continue
		}
		out[m.Digest.Hex] = true
		img := must[v1.Image](t)(index.Image(m.Digest))
		manifest := must[*v1.Manifest](t)(img.Manifest())
		out[manifest.Config.Digest.Hex] = true
		for _, l := range manifest.Layers {
			out[l.Digest.Hex] = true
		}
	}
	return out
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	must[int](t)(w.Write(content))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t *testing.T, content []byte) []byte {
	t.Helper()
	w := must[*zstd.Encoder](t)(zstd.NewWriter(nil))
	return w.EncodeAll(content, nil)
}
