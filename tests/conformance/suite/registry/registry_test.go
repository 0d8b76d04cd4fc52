package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"kedge/tests/conformance/suite/registry"
	"kedge/tests/image"
)

// serve serves two images of one path, of two registries.
func serve(t *testing.T) (address string, images map[string]v1.Image) {
	t.Helper()
	images = map[string]v1.Image{}
	names := []string{"one.example/other:2.0", "one.example/some/path:1", "two.example/some/path:1"}
	for _, n := range names {
		img, err := random.Image(4096, 2)
		if err != nil {
			t.Fatal(err)
		}
		images[n] = img
	}
	file := filepath.Join(t.TempDir(), "images.tar")
	if err := image.Write(file, image.OCILayout, images); err != nil {
		t.Fatal(err)
	}
	archive, err := registry.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names, archive.Names()); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	server := httptest.NewServer(archive)
	t.Cleanup(func() { server.Close(); archive.Close() })
	return server.Listener.Addr().String(), images
}

// TestPull: a client gets the whole image by tag, and by digest.
func TestPull(t *testing.T) {
	address, images := serve(t)
	want, err := images["one.example/other:2.0"].Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{address + "/other:2.0", address + "/other@" + want.String()} {
		ref, err := name.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		img, err := remote.Image(ref, remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img); err != nil {
			t.Error(err)
		}
		if got, err := img.Digest(); err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", reference, got, err, want)
		}
	}
}

// TestAnswers: which registry is meant, what is not there, what is not allowed.
func TestAnswers(t *testing.T) {
	address, images := serve(t)
	one, _ := images["one.example/some/path:1"].Digest()
	two, _ := images["two.example/some/path:1"].Digest()
	var got strings.Builder
	for _, request := range []string{
		"GET /v2/",
		"HEAD /v2/some/path/manifests/1?ns=one.example",
		"HEAD /v2/some/path/manifests/1?ns=two.example",
		"GET /v2/some/path/manifests/1?ns=three.example",
		"GET /v2/some/path/manifests/2",
		"GET /v2/some/path/blobs/sha256:0000",
		"GET /v2/some/path/tags/list",
		"GET /",
		"PUT /v2/some/path/manifests/1",
	} {
		fmt.Fprintln(&got, request, answer(t, address, request))
	}
	want := fmt.Sprintf(`GET /v2/ 200
HEAD /v2/some/path/manifests/1?ns=one.example 200 %s
HEAD /v2/some/path/manifests/1?ns=two.example 200 %s
GET /v2/some/path/manifests/1?ns=three.example 404 {"errors":[{"code":"MANIFEST_UNKNOWN"}]}
GET /v2/some/path/manifests/2 404 {"errors":[{"code":"MANIFEST_UNKNOWN"}]}
GET /v2/some/path/blobs/sha256:0000 404 {"errors":[{"code":"BLOB_UNKNOWN"}]}
GET /v2/some/path/tags/list 404 {"errors":[{"code":"NAME_UNKNOWN"}]}
GET / 404 {"errors":[{"code":"NAME_UNKNOWN"}]}
PUT /v2/some/path/manifests/1 405 {"errors":[{"code":"UNSUPPORTED"}]}
`, one, two)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func answer(t *testing.T, address, request string) string {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	parts := []string{fmt.Sprint(response.StatusCode)}
	for _, part := range []string{response.Header.Get("Docker-Content-Digest"), strings.TrimSpace(string(body))} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

func TestNoArchive(t *testing.T) {
	if _, err := registry.Open("registry_test.go"); err == nil {
		t.Error("opened a file that is no archive")
	}
}
