package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	coreimages "github.com/containerd/containerd/v2/core/images"
	tarball "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What containerd's CRI looks at (internal/cri/labels there).
const (
	pinnedLabel = "io.cri-containerd.pinned"
	pinnedValue = "pinned"
)

// store writes the archive's content to containerd, unpacks it, and then names it.
func (i *Importer) store(ctx context.Context, r io.Reader, pinned bool) ([]image, error) {
	ctx, release, err := i.Client.WithLease(ctx) // until the names hold the content
	if err != nil {
		return nil, fmt.Errorf("take lease: %w", err)
	}
	defer release(context.WithoutCancel(ctx)) //nolint:errcheck // it expires
	index, err := i.write(ctx, r)
	if err != nil {
		return nil, err
	}
	found, err := i.examine(ctx, index)
	if err != nil {
		return nil, err
	}
	var out []image
	for _, img := range found {
		if err := i.unpack(ctx, img); err != nil {
			return nil, err
		}
		if err := i.name(ctx, img, pinned); err != nil {
			return nil, err
		}
		out = append(out, image{Name: img.Name, Digest: img.Target.Digest})
	}
	return out, nil
}

// write leaves nothing behind when it fails, nor what an import left that the end of the process cut short.
func (i *Importer) write(ctx context.Context, r io.Reader) (ocispec.Descriptor, error) {
	store := newIngests(i.Client.ContentStore())
	i.clean(ctx, store)
	index, err := tarball.ImportIndex(ctx, store, r)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // checksums come last
	}
	if err == nil {
		return index, nil
	}
	i.clean(context.WithoutCancel(ctx), store)
	return ocispec.Descriptor{}, err
}

func (i *Importer) clean(ctx context.Context, store ingests) {
	if err := store.abort(ctx); err != nil {
		i.Log.WarnContext(ctx, "an archive's unfinished content takes space until the next import", "error", err)
	}
}

// examine returns the archive's images for this machine. Others are passed over, unless there are no others.
func (i *Importer) examine(ctx context.Context, index ocispec.Descriptor) ([]coreimages.Image, error) {
	blob, err := content.ReadBlob(ctx, i.Client.ContentStore(), index)
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	var list ocispec.Index
	if err := json.Unmarshal(blob, &list); err != nil {
		return nil, fmt.Errorf("parse index.json: %w", err)
	}
	var out []coreimages.Image
	var passed []error
	for _, target := range list.Manifests {
		if _, ok := target.Annotations[coreimages.AnnotationManifestSubject]; ok {
			continue // a signature or the like
		}
		name, err := nameOf(target)
		if err == nil {
			err = i.complete(ctx, target)
		}
		switch {
		case errors.Is(err, errUnnamed) || errors.Is(err, errPlatform):
			passed = append(passed, err)
		case err != nil:
			return nil, err
		default:
			out = append(out, coreimages.Image{Name: name, Target: target})
		}
	}
	if len(out) == 0 {
		return nil, errors.Join(append([]error{errEmpty}, passed...)...)
	}
	for _, err := range passed {
		i.Log.WarnContext(ctx, "an image of an archive is not imported", "error", err)
	}
	return out, nil
}

// nameOf returns the full name that the archive gives an image. A mere tag is no name.
func nameOf(target ocispec.Descriptor) (string, error) {
	text := target.Annotations[coreimages.AnnotationImageName]
	if ref := target.Annotations[ocispec.AnnotationRefName]; text == "" && strings.ContainsAny(ref, "/:@") {
		text = ref
	}
	if text == "" {
		return "", fmt.Errorf("image %s %w", target.Digest, errUnnamed)
	}
	named, err := reference.ParseDockerRef(text)
	if err != nil {
		return "", fmt.Errorf("image %s: name %q: %w", target.Digest, text, err)
	}
	return named.String(), nil
}

// complete checks that all of the image is there that this machine needs, and keeps it from being collected.
func (i *Importer) complete(ctx context.Context, target ocispec.Descriptor) error {
	store, machine := i.Client.ContentStore(), platforms.Default()
	if _, err := store.Info(ctx, target.Digest); err != nil {
		return fmt.Errorf("%w %s: %w", errMissing, target.Digest, err)
	}
	_, _, _, missing, err := coreimages.Check(ctx, store, target, machine)
	if err != nil {
		return fmt.Errorf("check image %s: %w", target.Digest, err)
	}
	if len(missing) > 0 && missing[0].Digest == target.Digest {
		return i.otherPlatform(ctx, target)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w %s", errMissing, missing[0].Digest)
	}
	// Content of other platforms may be left out of an archive.
	children := coreimages.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := coreimages.Children(ctx, store, d)
		if errdefs.IsNotFound(err) {
			return nil, coreimages.ErrSkipDesc
		}
		return found, err
	})
	label := coreimages.SetChildrenLabels(store, coreimages.FilterPlatforms(children, machine))
	if err := coreimages.Walk(ctx, label, target); err != nil {
		return fmt.Errorf("label content of image %s: %w", target.Digest, err)
	}
	return nil
}

// otherPlatform tells an index without this machine's platform from one whose manifest got lost.
func (i *Importer) otherPlatform(ctx context.Context, target ocispec.Descriptor) error {
	blob, err := content.ReadBlob(ctx, i.Client.ContentStore(), target)
	var list ocispec.Index
	if err == nil {
		err = json.Unmarshal(blob, &list)
	}
	if err != nil {
		return fmt.Errorf("read index of image %s: %w", target.Digest, err)
	}
	var has []string
	for _, m := range list.Manifests {
		if m.Platform == nil {
			continue
		}
		if platforms.Default().Match(*m.Platform) {
			return fmt.Errorf("%w %s", errMissing, m.Digest)
		}
		has = append(has, platforms.Format(*m.Platform))
	}
	return fmt.Errorf("image %s %w: it is for %s, this machine is %s", target.Digest, errPlatform,
		strings.Join(has, ", "), platforms.Format(platforms.DefaultSpec()))
}

// unpack makes snapshots of the layers. They are on the disk when it returns: after a power cut nobody would
// unpack them again.
func (i *Importer) unpack(ctx context.Context, img coreimages.Image) error {
	handle := client.NewImageWithPlatform(i.Client, img, platforms.Default())
	if err := handle.Unpack(ctx, i.Snapshotter, client.WithUnpackApplyOpts(diff.WithSyncFs(true))); err != nil {
		return fmt.Errorf("unpack image %s: %w", img.Name, err)
	}
	return nil
}

// name creates or moves the name. The CRI, which listens to these events, adds the label by which it manages it.
func (i *Importer) name(ctx context.Context, img coreimages.Image, pinned bool) error {
	images := i.Client.ImageService()
	if pinned {
		img.Labels = map[string]string{pinnedLabel: pinnedValue}
	}
	old, err := images.Get(ctx, img.Name)
	switch {
	case errdefs.IsNotFound(err):
		_, err = images.Create(ctx, img)
	case err == nil && old.Target.Digest == img.Target.Digest && pinned:
		_, err = images.Update(ctx, img, "labels."+pinnedLabel)
	case err == nil && old.Target.Digest != img.Target.Digest:
		_, err = images.Update(ctx, img, "target", "labels")
	}
	if err != nil {
		return fmt.Errorf("name image %s: %w", img.Name, err)
	}
	return nil
}
