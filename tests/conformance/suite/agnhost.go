package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// agnhost is the image that most specs use. It says that it is Alpine, because a spec looks for that.
func (l larder) agnhost(ctx context.Context, t tree) error {
	porter := filepath.Join(l.kubernetes, "test", "images", "agnhost", "porter")
	err := errors.Join(
		t.copy("agnhost", filepath.Join(l.bin, "agnhost"), 0o755),
		t.copy("localhost.crt", filepath.Join(porter, "localhost.crt"), 0o644),
		t.copy("localhost.key", filepath.Join(porter, "localhost.key"), 0o644),
	)
	if err != nil {
		return err
	}
	t.link("agnhost-2", "agnhost")
	t.dir("uploads", 0o755)
	t.text("etc/os-release", `NAME="Alpine Linux"`, "ID=alpine")
	t.text("etc/passwd", accounts, "user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh")
	t.text("etc/group", groups, "user-defined-in-image:x:1000:", "group-defined-in-image:x:50000:user-defined-in-image")
	t.dir("home/user-defined-in-image", 0o755)
	return l.registry(ctx, t)
}

// registry adds what `agnhost fake-registry-server` serves: an index with the pause image for one platform, as pause:testing.
// A manifest or blob is the file KIND/sha256/AB/ABCD…/data, a tag is a file with the index's digest.
func (l larder) registry(ctx context.Context, t tree) error {
	content := tree{}
	if err := l.pause(ctx, content); err != nil {
		return err
	}
	layer, err := content.layer()
	if err != nil {
		return err
	}
	img, err := assemble(pauseConfig(), layer)
	if err != nil {
		return err
	}
	platform, err := platformOf(img)
	if err != nil {
		return err
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	return fillRegistry(t, "var/registry/pause/", "testing", index, img, layer)
}

// encoded is what images and indexes have in common.
type encoded interface {
	RawManifest() ([]byte, error)
	Digest() (v1.Hash, error)
}

func fillRegistry(t tree, root, tag string, index encoded, img v1.Image, layer v1.Layer) error {
	for _, part := range []encoded{index, img} {
		manifest, err := part.RawManifest()
		if err != nil {
			return fmt.Errorf("encode manifest: %w", err)
		}
		t.blob(root+"manifests", manifest)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return fmt.Errorf("encode image configuration: %w", err)
	}
	t.blob(root+"blobs", config)
	compressed, err := readLayer(layer)
	if err != nil {
		return err
	}
	t.blob(root+"blobs", compressed)
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("digest index: %w", err)
	}
	t.text(root+"manifests/"+tag, digest.String())
	return nil
}
