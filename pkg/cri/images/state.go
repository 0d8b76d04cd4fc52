package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"

	"kedge/pkg/cri"
	"kedge/pkg/durable"
)

// state is what has been imported. Losing it costs time, nothing else.
type state struct {
	Snapshotter string            `json:"snapshotter"`
	Archives    map[string]record `json:"archives"` // by file name

	written *state
}

type record struct {
	Signature signature `json:"file"`
	Images    []image   `json:"images"`
}

// image is what a name stood for when it was imported.
type image struct {
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
}

func (s *state) has(a archive) bool {
	r, ok := s.Archives[a.name]
	return ok && r.Signature == a.signature
}

// forget drops the files that are gone.
func (s *state) forget(files []archive) {
	kept := map[string]record{}
	for _, a := range files {
		if r, ok := s.Archives[a.name]; ok {
			kept[a.name] = r
		}
	}
	s.Archives = kept
}

func (i *Importer) readState(ctx context.Context) *state {
	s := &state{}
	content, err := os.ReadFile(i.StateFile)
	if err == nil {
		err = json.Unmarshal(content, s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.Log.WarnContext(ctx, "what was imported is not known: all archives are imported again", "file", i.StateFile, "error", err)
		s = &state{}
	}
	before := state{Snapshotter: s.Snapshotter, Archives: maps.Clone(s.Archives)}
	if s.Archives == nil || s.Snapshotter != i.Snapshotter {
		s.Archives = map[string]record{}
	}
	s.Snapshotter, s.written = i.Snapshotter, &before
	return s
}

// writeState replaces the file if there is something to say.
func (i *Importer) writeState(s *state) error {
	now := state{Snapshotter: s.Snapshotter, Archives: maps.Clone(s.Archives)}
	if s.written != nil && s.written.Snapshotter == now.Snapshotter && reflect.DeepEqual(s.written.Archives, now.Archives) {
		return nil
	}
	content, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return fmt.Errorf("write imported images: %w", err)
	}
	dir := filepath.Dir(i.StateFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write imported images: %w", err)
	}
	if err := durable.Replace(i.StateFile, content); err != nil {
		return fmt.Errorf("write imported images: %w", err)
	}
	s.written = &now
	return nil
}

// present tells whether containerd still has all images. What a name stands for may have been changed on purpose.
func (i *Importer) present(ctx context.Context, images []image) bool {
	ctx = namespaces.WithNamespace(ctx, cri.Namespace)
	for _, img := range images {
		if _, err := i.Client.ImageService().Get(ctx, img.Name); err != nil {
			return false
		}
	}
	return true
}
