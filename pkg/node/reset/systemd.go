package reset

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/coreos/go-systemd/v22/dbus"
)

// stopSlices makes systemd forget the slices of pods, or it would make their cgroups again.
func stopSlices(ctx context.Context, pods []podCgroup) error {
	if len(pods) == 0 {
		return nil
	}
	c, err := dbus.NewWithContext(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer c.Close()
	units := map[string]bool{}
	for _, p := range pods {
		units[filepath.Base(p.dir)] = true
	}
	var errs []error
	for unit := range units {
		done := make(chan string, 1)
		if _, err := c.StopUnitContext(ctx, unit, "replace", done); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", unit, err))
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}
