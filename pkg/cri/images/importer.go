package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"kedge/pkg/cri"
)

// ImporterConfig says what to import to where. All fields are required.
type ImporterConfig struct {
	Dir         string         // the images folder; it is created
	StateFile   string         // remembers what was imported; not in Dir
	Client      *client.Client // of containerd's gRPC socket, on which the CRI answers too
	Snapshotter string         // the CRI's
	Log         *slog.Logger
}

// Importer imports image archives. It is a lifecycle.Component.
type Importer struct {
	ImporterConfig
	mu sync.Mutex // one import at a time

	// Only Run uses these.
	failed map[string]failure // by file name
	looked bool               // images that vanish from now on were removed on purpose, until the next start
}

// failure is remembered to say things once, and not to try in vain.
type failure struct {
	file  signature
	mend  string
	retry bool
}

// NewImporter returns an importer; Run makes it watch the folder.
func NewImporter(c ImporterConfig) *Importer {
	return &Importer{ImporterConfig: c, failed: map[string]failure{}}
}

// Name is the component's name.
func (*Importer) Name() string { return "images" }

// retryAfter is how long to wait when it was not the archive's fault: a full disk, or a folder that went away.
const retryAfter = 30 * time.Second

// Run imports the archives of the folder, one after the other, as they come. It is ready at once.
func (i *Importer) Run(ctx context.Context, ready func()) error {
	ready()
	for ctx.Err() == nil {
		err := i.follow(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		i.Log.Warn("images folder cannot be watched", "dir", i.Dir, "error", err, "again", retryAfter)
		wait(ctx, nil, retryAfter)
	}
	return nil
}

// follow imports until the folder is gone or ctx ends.
func (i *Importer) follow(ctx context.Context) error {
	if err := os.MkdirAll(i.Dir, 0o755); err != nil {
		return fmt.Errorf("create images folder: %w", err)
	}
	w, err := watch(i.Dir) // before looking, so that nothing is missed in between
	if err != nil {
		return err
	}
	defer w.close()
	for ctx.Err() == nil {
		again, err := i.scan(ctx)
		if err != nil {
			return err
		}
		if !wait(ctx, w.changes, again) {
			return nil
		}
	}
	return nil
}

// wait returns after a change, after d unless that is zero, or when ctx ends. It is false when changes is closed.
func wait(ctx context.Context, changes <-chan struct{}, d time.Duration) bool {
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-ctx.Done():
	case <-after:
	case _, open := <-changes:
		return open
	}
	return true
}

// scan imports what is new. It returns after which time to try again what failed, zero for never.
func (i *Importer) scan(ctx context.Context) (time.Duration, error) {
	files, err := archives(i.Dir)
	if err != nil {
		return 0, err
	}
	s := i.readState(ctx)
	var again time.Duration
	for _, file := range files {
		if ctx.Err() != nil {
			return 0, nil
		}
		if i.importFile(ctx, file, s) {
			again = retryAfter
		}
	}
	i.looked = true
	s.forget(files)
	i.forget(files)
	return again, i.writeState(s)
}

// forget drops failures of files that are gone.
func (i *Importer) forget(files []archive) {
	kept := map[string]failure{}
	for _, file := range files {
		if f, ok := i.failed[file.name]; ok {
			kept[file.name] = f
		}
	}
	i.failed = kept
}

// importFile imports one archive unless that is done, hopeless or too early; it tells whether to try again later.
func (i *Importer) importFile(ctx context.Context, file archive, s *state) (again bool) {
	if file.err == nil && s.has(file) && (i.looked || i.present(ctx, s.Archives[file.name].Images)) {
		return false
	}
	if f, ok := i.failed[file.name]; ok && f.file == file.signature && !f.retry {
		return false
	}
	started := time.Now()
	imported, err := i.importArchive(ctx, file)
	switch {
	case ctx.Err() != nil || errors.Is(err, errBusy):
		return false // whoever writes the file will close it
	case err != nil:
		return i.report(file, err)
	}
	delete(i.failed, file.name)
	s.Archives[file.name] = record{Signature: file.signature, Images: imported}
	if err := i.writeState(s); err != nil {
		i.Log.Warn("imported images cannot be remembered: they will be imported again", "error", err)
	}
	i.Log.Info("imported images", "file", file.path(), "images", names(imported), "seconds", time.Since(started).Seconds())
	return false
}

// report says what is wrong with an archive, once.
func (i *Importer) report(file archive, err error) (again bool) {
	mend, again := diagnose(err)
	f := failure{file: file.signature, mend: mend, retry: again}
	if i.failed[file.name] != f {
		i.Log.Error("image archive cannot be imported", "file", file.path(), "error", err, "mend", mend)
	}
	i.failed[file.name] = f
	return again
}

func (i *Importer) importArchive(ctx context.Context, file archive) ([]image, error) {
	if file.err != nil {
		return nil, file.err
	}
	f, err := os.Open(file.path())
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer f.Close()
	if writing(f) {
		return nil, errBusy
	}
	imported, err := i.load(ctx, f, true)
	if err != nil {
		return nil, err
	}
	if now, err := signatureOf(f); err != nil || now != file.signature {
		return nil, errBusy
	}
	return imported, nil
}

// ImportReader imports the archive that r holds, and returns the names of its images. The kubelet knows them then.
func (i *Importer) ImportReader(ctx context.Context, r io.Reader, pinned bool) ([]string, error) {
	imported, err := i.load(ctx, r, pinned)
	if err != nil {
		return nil, fmt.Errorf("import images: %w", err)
	}
	return names(imported), nil
}

func (i *Importer) load(ctx context.Context, r io.Reader, pinned bool) ([]image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	ctx = namespaces.WithNamespace(ctx, cri.Namespace)
	plain, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	imported, err := i.store(ctx, plain, pinned)
	if err != nil {
		return nil, err
	}
	return imported, i.awaitCRI(ctx, imported, pinned)
}

func names(images []image) []string {
	out := make([]string, 0, len(images))
	for _, img := range images {
		out = append(out, img.Name)
	}
	return out
}
