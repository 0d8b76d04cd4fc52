package payload

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestWithoutPayload(t *testing.T) {
	files := fstest.MapFS{"data/README": {}}
	_, err := open(files)
	if !errors.Is(err, ErrUnavailable) || err.Error() != "built without payload; run scripts/build" {
		t.Errorf("open = %v, want ErrUnavailable and what to do", err)
	}
}

func TestDamagedIndex(t *testing.T) {
	files := fstest.MapFS{"data/" + indexName: {Data: []byte("{")}}
	_, err := open(files)
	if got, want := errorText(err), "parse payload index: unexpected end of JSON input"; got != want {
		t.Errorf("open: got %q, want %q", got, want)
	}
}

// built returns the payload of this build; the test is skipped in a build without it.
func built(t *testing.T) store {
	t.Helper()
	s, err := open(data)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPayloadIsComplete(t *testing.T) {
	s := built(t)
	want := []string{RuntimeName, ShimName, CNIName, pauseName}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(s.index))); diff != "" {
		t.Errorf("names in the index (-want +got):\n%s", diff)
	}
}

func TestPayloadMatchesItsIndex(t *testing.T) {
	s := built(t)
	dir := t.TempDir()
	if err := Extract(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.programs() {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		got := item{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}
		if diff := cmp.Diff(s.index[name], got); diff != "" {
			t.Errorf("%s (-index +content):\n%s", name, diff)
		}
	}
}

func TestPauseImage(t *testing.T) {
	built(t)
	files, ref := readPauseImage(t)
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	if ref != PauseRef || len(index.Manifests) != 1 || index.Manifests[0].Annotations["io.containerd.image.name"] != ref {
		t.Fatalf("reference %q, index %+v", ref, index)
	}
	for name, content := range files {
		digest, isBlob := strings.CutPrefix(name, "blobs/sha256/")
		if sum := sha256.Sum256(content); isBlob && digest != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has another digest", name)
		}
	}
	if _, ok := files["blobs/"+strings.Replace(index.Manifests[0].Digest, ":", "/", 1)]; !ok {
		t.Errorf("the manifest %s is missing", index.Manifests[0].Digest)
	}
}

// readPauseImage returns the files of the pause image's archive.
func readPauseImage(t *testing.T) (files map[string][]byte, ref string) {
	t.Helper()
	archive, ref, err := PauseImage()
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	files = map[string][]byte{}
	for r := tar.NewReader(archive); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, ref
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// pauseProgram finds the pause program: the only file of the only layer.
func pauseProgram(t *testing.T) []byte {
	t.Helper()
	files, _ := readPauseImage(t)
	for _, blob := range files {
		header, err := tar.NewReader(strings.NewReader(string(blob))).Next()
		if err == nil && header.Name == "pause" {
			return blob[512 : 512+header.Size]
		}
	}
	t.Fatal("no layer of the pause image has the file pause")
	return nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
