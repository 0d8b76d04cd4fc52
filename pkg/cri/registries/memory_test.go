package registries

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// memory is a content store for one small image.
type memory map[digest.Digest][]byte

func (m memory) fetch(ctx context.Context, fetcher remotes.Fetcher, d ocispec.Descriptor) error {
	r, err := fetcher.Fetch(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if got := digest.FromBytes(b); got != d.Digest {
		return fmt.Errorf("digest is %s, want %s", got, d.Digest)
	}
	m[d.Digest] = b
	return nil
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }

func (m memory) ReaderAt(_ context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	return blob{bytes.NewReader(m[d.Digest])}, nil
}
