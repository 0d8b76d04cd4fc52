package agent

import (
	"context"
	"fmt"

	"kedge/embedded/payload"
	"kedge/pkg/cri"
	"kedge/pkg/lifecycle"
)

// importPause makes the pause image known before the first pod asks for it.
func (a *Agent) importPause(ctx context.Context) error {
	archive, ref, err := payload.PauseImage()
	if err != nil {
		return fmt.Errorf("read pause image: %w", err)
	}
	defer archive.Close()
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	images, err := c.Import(ctx, archive)
	if err != nil {
		return fmt.Errorf("import %s: %w", ref, err)
	}
	_ = images
	return nil
}

func (a *Agent) images() (lifecycle.Component, error) {
	return lifecycle.Step("images", func(context.Context) error { return nil }), nil
}

func (a *Agent) snapshotter() string { return cri.DefaultSnapshotter }
