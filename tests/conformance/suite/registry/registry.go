// Package registry serves an archive of images in the way of the OCI distribution specification, read-only, so that
// pulling works where there is no registry. Only tests import it.
//
// The archive is an OCI layout in a tar file that is not compressed, whose index names images in the annotation
// io.containerd.image.name, as tests/image writes it. A repository is found by its path below any registry's name: a
// client that uses the server as a mirror says in the parameter ns which one it means. Content is read from the file when
// it is asked for; the archive must not change while it is served.
package registry

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// Archive is an http.Handler with the images of a file.
type Archive struct {
	file  *os.File
	blobs map[string]span   // by digest
	names map[string]string // from the image's name to its manifest's digest
	types map[string]string // media types of manifests by digest
}

// span is where content lies in the file, in bytes.
type span struct{ offset, size int64 }

// Open reads the archive's index. The caller closes the archive.
func Open(path string) (*Archive, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open image archive: %w", err)
	}
	a := &Archive{file: file, blobs: map[string]span{}, names: map[string]string{}, types: map[string]string{}}
	if err := a.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read image archive %s: %w", path, err), file.Close())
	}
	return a, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

// Names lists the images' names in alphabetical order.
func (a *Archive) Names() []string { return slices.Sorted(maps.Keys(a.names)) }

func (a *Archive) load() error {
	for members := tar.NewReader(a.file); ; {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read tar file: %w", err)
		}
		if digest, ok := strings.CutPrefix(header.Name, "blobs/sha256/"); ok && header.Typeflag == tar.TypeReg {
			// The reader uses no buffer, so the file stands where the content begins.
			start, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return fmt.Errorf("find content: %w", err)
			}
			a.blobs["sha256:"+digest] = span{start, header.Size}
		}
		if header.Name == "index.json" {
			if err := a.readIndex(members); err != nil {
				return err
			}
		}
	}
	if len(a.names) == 0 {
		return errors.New("no index, or one that names no image")
	}
	return nil
}

func (a *Archive) readIndex(r io.Reader) error {
	var index struct {
		Manifests []struct {
			MediaType, Digest string
			Annotations       map[string]string
		}
	}
	if err := json.NewDecoder(r).Decode(&index); err != nil {
		return fmt.Errorf("parse index: %w", err)
	}
	for _, m := range index.Manifests {
		a.types[m.Digest] = m.MediaType
		if name := m.Annotations["io.containerd.image.name"]; name != "" {
			a.names[name] = m.Digest
		}
	}
	return nil
}

// ServeHTTP answers GET and HEAD of manifests and blobs.
func (a *Archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN")
		return
	}
	if path == "" {
		return
	}
	if _, digest, ok := cutLast(path, "/blobs/"); ok {
		a.send(w, r, digest, "application/octet-stream")
		return
	}
	repository, reference, ok := cutLast(path, "/manifests/")
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN")
		return
	}
	if !strings.HasPrefix(reference, "sha256:") {
		reference = a.find(r.URL.Query().Get("ns"), repository+":"+reference)
	}
	if a.types[reference] == "" {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
		return
	}
	a.send(w, r, reference, a.types[reference])
}

// find returns the digest of the image with that path in the registry host, or in any one if host is empty.
func (a *Archive) find(host, path string) string {
	if host != "" {
		return a.names[host+"/"+path]
	}
	for name, digest := range a.names {
		if _, rest, _ := strings.Cut(name, "/"); rest == path {
			return digest
		}
	}
	return ""
}

func (a *Archive) send(w http.ResponseWriter, r *http.Request, digest, mediaType string) {
	content, ok := a.blobs[digest]
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(a.file, content.offset, content.size))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i > 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// refuse answers with an error in the form of the specification.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"errors\":[{\"code\":%q}]}\n", code)
}
