package images_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"kedge/pkg/cri/images"
)

const patience = 15 * time.Second

// lines is a slog.Handler that hands over each record as one line of text.
type lines struct {
	c    chan string
	hide []string // keys
}

func newLines() lines { return lines{c: make(chan string, 1000), hide: []string{"seconds", "dir"}} }

func (lines) Enabled(context.Context, slog.Level) bool { return true }
func (h lines) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h lines) WithGroup(string) slog.Handler          { return h }
func (h lines) Handle(_ context.Context, r slog.Record) error {
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if !slices.Contains(h.hide, a.Key) {
			text += fmt.Sprintf("\n  %s: %v", a.Key, a.Value)
		}
		return true
	})
	h.c <- text
	return nil
}

// next waits for a record.
func (h lines) next(t *testing.T) string {
	t.Helper()
	select {
	case text := <-h.c:
		return text
	case <-time.After(patience):
		t.Fatal("nothing was logged")
		return ""
	}
}

func (h lines) none(t *testing.T) {
	t.Helper()
	select {
	case text := <-h.c:
		t.Errorf("unexpected: %s", text)
	default:
	}
}

// node is a folder and a state that outlive an importer.
type node struct {
	t          *testing.T
	dir, state string
}

func newNode(t *testing.T) node {
	t.Helper()
	dir := t.TempDir()
	n := node{t: t, dir: filepath.Join(dir, "images"), state: filepath.Join(dir, "state", "images.json")}
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n node) importer(log lines) *images.Importer {
	return images.NewImporter(images.ImporterConfig{
		Dir: n.dir, StateFile: n.state, Client: needContainerd(n.t).client, Snapshotter: testSnapshotter, Log: slog.New(log),
	})
}

// start runs an importer until stop is called or the test ends.
func (n node) start() (log lines, stop func()) {
	n.t.Helper()
	log = newLines()
	ctx, cancel := context.WithCancel(n.t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	i := n.importer(log)
	go func() { done <- i.Run(ctx, func() { close(ready) }) }()
	<-ready
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("importer ended: %v", err)
		}
	}
	n.t.Cleanup(stop)
	return log, stop
}

// put makes a file appear at once.
func (n node) put(name string, content []byte) {
	n.t.Helper()
	temporary := filepath.Join(n.t.TempDir(), "file")
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(n.dir, name)); err != nil {
		n.t.Fatal(err)
	}
}

// shown lists what the kubelet sees of the names asked for, as "name pinned".
func shown(t *testing.T, prefix string) []string {
	t.Helper()
	conn, ok := needContainerd(t).client.Conn().(*grpc.ClientConn)
	if !ok {
		t.Fatal("no gRPC connection")
	}
	answer, err := criapi.NewImageServiceClient(conn).ListImages(t.Context(), &criapi.ListImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, img := range answer.Images {
		for _, tag := range img.RepoTags {
			if name, ok := strings.CutPrefix(tag, prefix); ok {
				found[fmt.Sprintf("%s pinned=%t", name, img.Pinned)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
