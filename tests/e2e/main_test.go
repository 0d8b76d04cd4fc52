package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"kedge/tests/host"
	"kedge/tests/image"
)

const (
	binVariable   = "KEDGE_BIN"
	imageVariable = "KEDGE_E2E_IMAGE" // set by TestMain: the archive of the test image
)

func TestMain(m *testing.M) {
	host.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv(binVariable) == "" || os.Getuid() != 0 {
		return m.Run() // every test skips itself
	}
	dir, remove, err := host.Scratch()
	if err != nil {
		fmt.Fprintln(os.Stderr, "make directory for images:", err)
		return 1
	}
	defer remove() // the next run removes it
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	archive := filepath.Join(dir, "test.tar")
	img, err := image.Build(ctx, dir)
	if err == nil {
		err = image.Write(archive, image.DockerSave, map[string]v1.Image{image.Name: img})
	}
	if err == nil {
		err = os.Setenv(imageVariable, archive)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make test image:", err)
		return 1
	}
	return m.Run()
}

// executable returns the path of kedge, or skips the test.
func executable(t testing.TB) string {
	t.Helper()
	bin := os.Getenv(binVariable)
	if bin == "" {
		t.Skipf("needs %s, the path of the executable", binVariable)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make hosts")
	}
	abs, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abs); err != nil {
		t.Fatalf("%s: %v", binVariable, err)
	}
	return abs
}

// testImage returns the image that TestMain made.
func testImage(t testing.TB) v1.Image {
	t.Helper()
	img, err := tarball.ImageFromPath(os.Getenv(imageVariable), nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
