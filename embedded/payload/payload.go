// Package payload carries the programs that must be separate executables (runc, the containerd shim, the CNI
// entry) and the image of the pause container, all compressed inside kedge.
//
// scripts/payload fills data before kedge is linked. A build without it compiles and works except for this
// package, which then returns ErrUnavailable. Every package may import it; it imports nothing of kedge.
//
// Invariants: a program is replaced by rename only, so that one that runs keeps its file; a file under a
// program's name is always whole, whatever interrupts Extract.
package payload

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Names of the programs, in the payload and in the directory that Extract fills.
const (
	RuntimeName = "runc"
	ShimName    = "containerd-shim-runc-v2"
	CNIName     = "kedge-cni"
)

// PauseRef is the reference under which the pause image is stored; no registry serves it.
const PauseRef = "kedge.local/pause:1"

const (
	indexName = "index.json"
	pauseName = "pause.tar"
)

// ErrUnavailable says that kedge was built by the go command alone.
var ErrUnavailable = errors.New("built without payload; run scripts/build")

//go:embed all:data
var data embed.FS

// Extract unpacks the programs into dir, which it creates (mode 0755), each with mode 0755. A program that is
// already there and unchanged since it was unpacked is left alone, anything else under its name is replaced.
func Extract(dir string) error {
	s, err := open(data)
	if err != nil {
		return err
	}
	return s.extract(dir)
}

// PauseImage opens the pause image's OCI archive, an uncompressed tar stream, and tells its reference.
func PauseImage() (archive io.ReadCloser, ref string, err error) {
	s, err := open(data)
	if err != nil {
		return nil, "", err
	}
	archive, err = s.reader(pauseName)
	if err != nil {
		return nil, "", err
	}
	return archive, PauseRef, nil
}

// Available reports whether this executable carries its payload.
func Available() bool {
	_, err := open(data)
	return err == nil
}

// item describes one file of the payload before compression.
type item struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// store is a payload: the compressed files and the index of what they contain.
type store struct {
	files fs.FS
	index map[string]item
}

func open(files fs.FS) (store, error) {
	dir, err := fs.Sub(files, "data")
	if err != nil {
		return store{}, fmt.Errorf("open payload: %w", err)
	}
	raw, err := fs.ReadFile(dir, indexName)
	if errors.Is(err, fs.ErrNotExist) {
		return store{}, ErrUnavailable
	}
	if err != nil {
		return store{}, fmt.Errorf("read payload index: %w", err)
	}
	s := store{files: dir}
	if err := json.Unmarshal(raw, &s.index); err != nil {
		return store{}, fmt.Errorf("parse payload index: %w", err)
	}
	return s, nil
}
