package image

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"
)

// Format is the form of an archive's content.
type Format int

// The forms in which images are passed around as files.
const (
	DockerSave Format = iota // manifest.json and layer files, as `docker save` writes them
	OCILayout                // an OCI image layout in a tar archive
)

// Write writes images, by name, to an archive that is compressed as the file's name says (.gz, .zst or not at all).
// The file appears complete under its name.
func Write(file string, format Format, images map[string]v1.Image) error {
	partial := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".partial")
	out, err := os.Create(partial)
	if err != nil {
		return fmt.Errorf("create archive: %w", err)
	}
	defer os.Remove(partial)
	defer out.Close()
	w, err := compressor(file, out)
	if err != nil {
		return err
	}
	if format == OCILayout {
		err = writeLayout(w, images, filepath.Dir(file))
	} else {
		err = writeDockerSave(w, images)
	}
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	if err := os.Rename(partial, file); err != nil {
		return fmt.Errorf("place archive: %w", err)
	}
	return nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

func compressor(file string, out io.Writer) (io.WriteCloser, error) {
	switch filepath.Ext(file) {
	case ".gz":
		return gzip.NewWriter(out), nil
	case ".zst":
		w, err := zstd.NewWriter(out)
		if err != nil {
			return nil, fmt.Errorf("make zstd writer: %w", err)
		}
		return w, nil
	default:
		return plain{out}, nil
	}
}

func writeDockerSave(w io.Writer, images map[string]v1.Image) error {
	refs := map[name.Reference]v1.Image{}
	for n, img := range images {
		ref, err := name.NewTag(n)
		if err != nil {
			return fmt.Errorf("parse image name: %w", err)
		}
		refs[ref] = img
	}
	if err := tarball.MultiRefWrite(refs, w); err != nil {
		return fmt.Errorf("write docker archive: %w", err)
	}
	return nil
}

func writeLayout(w io.Writer, images map[string]v1.Image, scratch string) error {
	dir, err := os.MkdirTemp(scratch, ".layout")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer os.RemoveAll(dir)
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write image layout: %w", err)
	}
	for n, img := range images {
		names := map[string]string{"io.containerd.image.name": n, "org.opencontainers.image.ref.name": n[strings.LastIndex(n, ":")+1:]}
		if err := p.AppendImage(img, layout.WithAnnotations(names)); err != nil {
			return fmt.Errorf("write image %s: %w", n, err)
		}
	}
	t := tar.NewWriter(w)
	if err := t.AddFS(os.DirFS(dir)); err != nil {
		return fmt.Errorf("write layout archive: %w", err)
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("end layout archive: %w", err)
	}
	return nil
}
