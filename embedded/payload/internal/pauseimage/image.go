package main

import (
	"archive/tar"
	"bytes"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entry is the program's path inside the image.
const entry = "/pause"

// user is the numeric user and group that pause runs as unless the pod says otherwise: it needs no right at all.
const user = "65535:65535"

func newImage(binary []byte, arch string) (v1.Image, error) {
	content, err := layerContent(binary)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &v1.ConfigFile{
		OS:           "linux",
		Architecture: arch,
		RootFS:       v1.RootFS{Type: "layers"},
		Config:       v1.Config{Entrypoint: []string{entry}, User: user, WorkingDir: "/"},
	})
	if err != nil {
		return nil, fmt.Errorf("set image configuration: %w", err)
	}
	// Uncompressed: whoever unpacks a compressed layer may look for a decompression program on the host.
	return mutate.AppendLayers(base, static.NewLayer(content, types.OCIUncompressedLayer))
}

// layerContent is the layer's uncompressed tar stream: one file.
func layerContent(binary []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: entry[1:], Mode: 0o755, Size: int64(len(binary)), Format: tar.FormatUSTAR}); err != nil {
		return nil, fmt.Errorf("write layer header: %w", err)
	}
	if _, err := w.Write(binary); err != nil {
		return nil, fmt.Errorf("write layer file: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("finish layer: %w", err)
	}
	return buf.Bytes(), nil
}

// writeLayout stores the image as an OCI layout whose index names it, in the annotation that containerd reads
// and in the one of the OCI specification.
func writeLayout(dir string, img v1.Image, arch, ref string) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("create layout: %w", err)
	}
	err = path.AppendImage(img,
		layout.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}),
		layout.WithAnnotations(map[string]string{
			"io.containerd.image.name":          ref,
			"org.opencontainers.image.ref.name": ref,
		}))
	if err != nil {
		return fmt.Errorf("append image: %w", err)
	}
	return nil
}
