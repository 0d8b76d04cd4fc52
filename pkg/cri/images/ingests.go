package images

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
)

// ingests names what is being written after one import. Otherwise containerd would continue, with the bytes of
// another archive, files of the same name that a former import began.
type ingests struct {
	content.Store
	prefix string
}

const ingestPrefix = "kedge-import-"

func newIngests(store content.Store) ingests {
	return ingests{Store: store, prefix: ingestPrefix + rand.Text() + "-"}
}

// Writer adds the prefix to the name that options give.
func (s ingests) Writer(ctx context.Context, options ...content.WriterOpt) (content.Writer, error) {
	var w content.WriterOpts
	for _, o := range options {
		if err := o(&w); err != nil {
			return nil, err
		}
	}
	return s.Store.Writer(ctx, append(options, content.WithRef(s.prefix+w.Ref))...)
}

// Abort adds the prefix, too.
func (s ingests) Abort(ctx context.Context, ref string) error {
	return s.Store.Abort(ctx, s.prefix+ref)
}

// abort frees the space of files that imports left unfinished, this one or one that a crash ended. It tries again
// because containerd may not have closed yet what was closed here.
func (s ingests) abort(ctx context.Context) error {
	const attempts = 20
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		err := s.abortAll(ctx)
		if err == nil || n == attempts || ctx.Err() != nil {
			return err
		}
		<-tick.C
	}
}

func (s ingests) abortAll(ctx context.Context) error {
	left, err := s.ListStatuses(ctx, `ref~="^`+ingestPrefix+`"`)
	if err != nil {
		return fmt.Errorf("list unfinished content: %w", err)
	}
	var failed []error
	for _, status := range left {
		if err := s.Store.Abort(ctx, status.Ref); err != nil && !errdefs.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("remove unfinished content: %w", err))
		}
	}
	return errors.Join(failed...)
}
