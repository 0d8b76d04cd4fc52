package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Name is the image's usual name.
const Name = "kedge.local/test:1"

const busybox = "/bin/busybox"

// Build makes the image. It compiles the probe with the go command into a directory that the caller removes.
func Build(ctx context.Context, scratch string) (v1.Image, error) {
	probe := filepath.Join(scratch, "probe")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", probe, "kedge/tests/image/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build probe: %w: %s", err, out)
	}
	root, err := rootfs(ctx, probe)
	if err != nil {
		return nil, err
	}
	return assemble(root)
}

// Variant returns the image with one more file, /variant, and so with another digest.
func Variant(base v1.Image, text string) (v1.Image, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := add(w, "variant", 0o644, []byte(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end layer: %w", err)
	}
	layer, err := layerOf(buf.Bytes())
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("append layer: %w", err)
	}
	return img, nil
}

// assemble makes an image of one layer.
func assemble(root []byte) (v1.Image, error) {
	layer, err := layerOf(root)
	if err != nil {
		return nil, err
	}
	base := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("append layer: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}, WorkingDir: "/"}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, fmt.Errorf("write image configuration: %w", err)
	}
	return img, nil
}

func layerOf(content []byte) (v1.Layer, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	return layer, nil
}

// rootfs is the image's file system as a tar stream: the same bytes for the same programs.
func rootfs(ctx context.Context, probe string) ([]byte, error) {
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list applets of %s (Debian package busybox-static): %w", busybox, err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := skeleton(w); err != nil {
		return nil, err
	}
	for _, program := range []string{busybox, probe} {
		content, err := os.ReadFile(program)
		if err != nil {
			return nil, fmt.Errorf("read program: %w", err)
		}
		if err := add(w, "bin/"+filepath.Base(program), 0o755, content); err != nil {
			return nil, err
		}
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet == "busybox" {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}); err != nil {
			return nil, fmt.Errorf("add %s: %w", applet, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end layer: %w", err)
	}
	return buf.Bytes(), nil
}

func add(w *tar.Writer, name string, mode int64, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	return nil
}

// skeleton adds the directories and accounts.
func skeleton(w *tar.Writer) error {
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "sys", "var"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
			return fmt.Errorf("add %s: %w", dir, err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return fmt.Errorf("add tmp: %w", err)
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
	group := "root:x:0:\nnogroup:x:65534:\n"
	return errors.Join(add(w, "etc/passwd", 0o644, []byte(passwd)), add(w, "etc/group", 0o644, []byte(group)))
}
