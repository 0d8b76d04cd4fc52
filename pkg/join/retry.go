package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// checkError is what a handshake found out about the server.
type checkError struct {
	text  string
	final bool // trying again does not help
}

func (e *checkError) Error() string { return e.text }

// finalError is an error that does not heal.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(err error) error { return finalError{err} }

func isFinal(err error) bool {
	var check *checkError
	var over finalError
	return errors.As(err, &check) && check.final || errors.As(err, &over)
}

// backoff between attempts: quick at first, because servers and agents are often started together.
func backoff() *wait.Backoff {
	return &wait.Backoff{Duration: 250 * time.Millisecond, Factor: 1.6, Jitter: 0.2, Steps: 64, Cap: 15 * time.Second}
}

// repeatEvery is how often an error that stays the same is logged again.
const repeatEvery = time.Minute

// retry calls do until it succeeds, fails for good, or ctx ends. Each new error is logged, the same one once a minute.
func retry(ctx context.Context, log *slog.Logger, doing string, do func(context.Context) error) error {
	pause, last, said := backoff(), "", time.Time{}
	for {
		err := do(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
		case isFinal(err):
			return fmt.Errorf("%s: %w", doing, err)
		}
		if text := err.Error(); text != last || time.Since(said) > repeatEvery {
			log.Warn("cannot go on yet, trying again", "doing", doing, "error", err)
			last, said = text, time.Now()
		}
		timer := time.NewTimer(pause.Step())
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}
