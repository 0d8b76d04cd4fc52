package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"kedge/tests/host"
)

// registryAddress is where each node finds the images again.
const registryAddress = "127.0.0.1:5001"

// registryServer is a registry on a node's loopback.
type registryServer struct {
	names []string // of the images, with registry and tag
	http  *http.Server
}

// serveRegistry serves the images of an archive (an OCI layout) on a host's loopback.
func serveRegistry(h *host.Host, archive string) (*registryServer, error) {
	l, err := h.Listen("tcp", registryAddress)
	if err != nil {
		return nil, fmt.Errorf("listen for the registry: %w", err)
	}
	quiet := log.New(io.Discard, "", 0)
	r := &registryServer{http: &http.Server{
		Handler: registry.New(registry.Logger(quiet)), ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet,
	}}
	go r.http.Serve(l) //nolint:errcheck // ends with Close
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return h.Dial(ctx, network, address)
	}
	if err := r.fill(archive, &http.Transport{DialContext: dial}); err != nil {
		return nil, errors.Join(fmt.Errorf("fill registry: %w", err), r.Close())
	}
	return r, nil
}

// Close ends the registry.
func (r *registryServer) Close() error { return r.http.Close() }

// fill pushes every image of the archive under its name without the registry's.
func (r *registryServer) fill(archive string, transport *http.Transport) error {
	defer transport.CloseIdleConnections()
	dir, remove, err := host.Scratch()
	if err != nil {
		return err
	}
	defer remove() //nolint:errcheck // the next run removes it
	if err := unpack(archive, dir); err != nil {
		return err
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	for _, m := range manifest.Manifests {
		full := m.Annotations["io.containerd.image.name"]
		ref, err := name.NewTag(full)
		if err != nil {
			return fmt.Errorf("parse image name: %w", err)
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			return fmt.Errorf("read image %s: %w", full, err)
		}
		here, err := name.NewTag(registryAddress+"/"+ref.RepositoryStr()+":"+ref.TagStr(), name.Insecure)
		if err != nil {
			return fmt.Errorf("parse image name: %w", err)
		}
		if err := remote.Write(here, img, remote.WithTransport(transport)); err != nil {
			return fmt.Errorf("push %s: %w", here, err)
		}
		r.names = append(r.names, full)
	}
	return nil
}

// unpack extracts regular files of a tar archive.
func unpack(archive, dir string) error {
	in, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	defer in.Close()
	for t := tar.NewReader(in); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			continue
		}
		if err := extract(t, filepath.Join(dir, h.Name)); err != nil {
			return err
		}
	}
}

func extract(from io.Reader, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("unpack archive: %w", err)
	}
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("unpack archive: %w", err)
	}
	_, err = io.Copy(out, from)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("unpack archive: %w", err)
	}
	return nil
}
