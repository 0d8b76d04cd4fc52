package host

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// Eventually calls check until it returns nil and fails the test with its last error when that does not happen in time.
func Eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	begin := time.Now()
	if err := poll(ctx, 100*time.Millisecond, check); err != nil {
		t.Fatalf("%s: not within %s: %v", what, time.Since(begin).Round(time.Millisecond), err)
	}
}

// poll calls check at once and then at every interval until it returns nil or ctx ends; it returns check's last error.
func poll(ctx context.Context, interval time.Duration, check func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last try)", err)
		case <-ticker.C:
		}
	}
}
