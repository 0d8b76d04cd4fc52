package main

import (
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// packed is a layer in memory, compressed once: images share most layers.
type packed struct {
	content      []byte
	digest, diff v1.Hash
}

// layer packs the tree.
func (t tree) layer() (v1.Layer, error) {
	var plain bytes.Buffer
	if err := t.write(&plain); err != nil {
		return nil, err
	}
	compress, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, fmt.Errorf("make zstd writer: %w", err)
	}
	p := packed{content: compress.EncodeAll(plain.Bytes(), nil)}
	if p.diff, _, err = v1.SHA256(&plain); err != nil {
		return nil, fmt.Errorf("digest layer: %w", err)
	}
	if p.digest, _, err = v1.SHA256(bytes.NewReader(p.content)); err != nil {
		return nil, fmt.Errorf("digest layer: %w", err)
	}
	layer, err := partial.CompressedToLayer(p)
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	return layer, nil
}

// Digest is that of the compressed content.
func (p packed) Digest() (v1.Hash, error) { return p.digest, nil }

// DiffID is the digest of the plain content.
func (p packed) DiffID() (v1.Hash, error) { return p.diff, nil } //nolint:unparam // CompressedToLayer wants this signature

// Size is that of the compressed content, in bytes.
func (p packed) Size() (int64, error) { return int64(len(p.content)), nil }

// MediaType names the compression.
func (p packed) MediaType() (types.MediaType, error) { return types.OCILayerZStd, nil }

// Compressed opens the compressed content.
func (p packed) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(p.content)), nil
}
