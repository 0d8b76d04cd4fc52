package agent

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/containerd/containerd/v2/client"

	"kedge/embedded/payload"
	"kedge/pkg/cri"
	"kedge/pkg/cri/images"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/node/machine"
)

// importPause makes the pause image known before the first pod asks for it.
func (a *Agent) importPause(ctx context.Context) error {
	archive, ref, err := payload.PauseImage()
	if err != nil {
		return fmt.Errorf("read pause image: %w", err)
	}
	defer archive.Close() // read only
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close() // nothing is buffered
	if _, err := a.importer(c).ImportReader(ctx, archive, true); err != nil {
		return fmt.Errorf("import %s: %w", ref, err)
	}
	return nil
}

// images keeps the images folder imported.
func (a *Agent) images() lifecycle.Component {
	return lifecycle.Func("images", func(ctx context.Context, ready func()) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close() // nothing is buffered
		return a.importer(c).Run(ctx, ready)
	})
}

func (a *Agent) importer(c *client.Client) *images.Importer {
	l := a.Config.Layout
	return images.NewImporter(images.ImporterConfig{
		Dir: l.Images(), StateFile: filepath.Join(l.AgentConfig(), "images.json"), Client: c,
		Snapshotter: a.snapshotter(), Log: logging.For(a.Log, "images"),
	})
}

// snapshotter is overlayfs where the data directory's file system can carry it, and else plain copies. It is asked again by
// each part that needs it; the answer is the file system's and stays the same.
func (a *Agent) snapshotter() string {
	if err := machine.TryOverlay(a.Config.Layout.DataDir); err != nil {
		a.Log.Warn("overlayfs does not work on the data directory: every container copies its image", "error", err)
		return cri.FallbackSnapshotter
	}
	return cri.DefaultSnapshotter
}
