package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	upstream "k8s.io/kubernetes/test/utils/image"

	"kedge/tests/image"
)

const archiveName = "images.tar"

// recipe is an image under the name that the suite has for it.
type recipe struct {
	id     upstream.ImageID
	layers []string
	config v1.Config
}

// recipes are the images that can be made here. Absent are the one that must not be there (InvalidRegistryImage), the one
// that needs a password (AgnhostPrivate), and servers of storage and measurements that no conformance spec uses.
func recipes() []recipe {
	shell := v1.Config{Cmd: []string{"sh"}}
	agnhost := v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, ExposedPorts: ports("80", "8080", "8081", "9376", "5000")}
	pet := v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"test-webserver"}, ExposedPorts: agnhost.ExposedPorts}
	nginx := v1.Config{Cmd: []string{"nginx", "-g", "daemon off;"}, ExposedPorts: ports("80")}
	agnhostLayers := []string{"base", "tools", "coredns", "agnhost"}
	return []recipe{
		{upstream.Agnhost, agnhostLayers, agnhost},
		{upstream.AgnhostPrev, agnhostLayers, agnhost},
		{upstream.APIServer, []string{"base", "sample-apiserver"}, v1.Config{Entrypoint: []string{"/sample-apiserver"}}},
		{upstream.BusyBox, []string{"base"}, shell},
		{upstream.Etcd, []string{"base", "etcd"}, v1.Config{Cmd: []string{"etcd"}, ExposedPorts: ports("2379", "2380")}},
		{upstream.GlibcDnsTesting, []string{"base", "tools", "coredns"}, v1.Config{Cmd: []string{"bash"}}},
		{upstream.IpcUtils, []string{"base", "tools"}, shell},
		{upstream.Kitten, append(agnhostLayers, "kitten"), pet},
		{upstream.Nautilus, append(agnhostLayers, "nautilus"), pet},
		{upstream.Nginx, []string{"base", "nginx"}, nginx},
		{upstream.NginxNew, []string{"base", "nginx"}, nginx},
		{upstream.Nonewprivs, []string{"base", "nonewprivs"}, v1.Config{Cmd: []string{"nnp"}}},
		{upstream.NonRoot, []string{"base"}, v1.Config{Cmd: []string{"sh"}, User: "1234"}},
		{upstream.Pause, []string{"pause"}, pauseConfig()},
		{upstream.RegressionIssue74839, []string{"base", "regression-issue-74839"}, v1.Config{Entrypoint: []string{"/regression-issue-74839"}}},
		{upstream.ResourceConsumer, []string{"base", "consumer"}, v1.Config{Entrypoint: []string{"/consumer"}, ExposedPorts: ports("8080")}},
	}
}

func pauseConfig() v1.Config {
	return v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}
}

func ports(numbers ...string) map[string]struct{} {
	exposed := map[string]struct{}{}
	for _, number := range numbers {
		exposed[number+"/tcp"] = struct{}{}
	}
	return exposed
}

// writeImages makes the archive in dir.
func writeImages(ctx context.Context, m module, dir string, out io.Writer) error {
	sources, err := m.sources(ctx)
	if err != nil {
		return err
	}
	l := larder{bin: filepath.Join(dir, "bin"), kubernetes: sources, apt: apt{dir: filepath.Join(dir, "debs")}}
	if l.debs, err = l.apt.fetch(ctx, packages()); err != nil {
		return err
	}
	layers, err := l.layers(ctx)
	if err != nil {
		return err
	}
	images := map[string]v1.Image{}
	for _, r := range recipes() {
		name := upstream.GetE2EImage(r.id)
		if images[name], err = r.image(name, layers); err != nil {
			return fmt.Errorf("make image %s: %w", name, err)
		}
		fmt.Fprintln(out, name)
	}
	return image.Write(filepath.Join(dir, archiveName), image.OCILayout, images)
}

// image makes the image. Its name is a label, so that two images of one recipe have two digests: specs compare them.
func (r recipe) image(name string, layers map[string]v1.Layer) (v1.Image, error) {
	r.config.Labels = map[string]string{"org.opencontainers.image.ref.name": name}
	var content []v1.Layer
	for _, layer := range r.layers {
		content = append(content, layers[layer])
	}
	return assemble(r.config, content...)
}

func assemble(config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: config, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, fmt.Errorf("write image configuration: %w", err)
	}
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		return nil, fmt.Errorf("append layers: %w", err)
	}
	return img, nil
}

func platformOf(img v1.Image) (*v1.Platform, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	return config.Platform(), nil
}

func readLayer(layer v1.Layer) ([]byte, error) {
	stream, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("open layer: %w", err)
	}
	defer stream.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(stream); err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	return content.Bytes(), nil
}
