package cli

import (
	"context"
	"errors"
	"log/slog"

	"kedge/pkg/config"
)

// reset takes the cluster off the machine.
func reset(context.Context, config.Layout, string, *slog.Logger) error {
	return errors.New("reset is not in this version")
}
