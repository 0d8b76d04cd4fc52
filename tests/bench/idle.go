package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"kedge/tests/usage"
)

// idle fills in what a process uses while nothing is asked of it.
func idle(ctx context.Context, s sample, pid int, d time.Duration) error {
	before, err := usage.Of(pid)
	if err != nil {
		return err
	}
	s[resident], s[anonymous] = float64(before.Resident)/1e6, float64(before.Anonymous)/1e6
	begin := time.Now()
	if err := wait(ctx, d); err != nil {
		return err
	}
	after, err := usage.Of(pid)
	if err != nil {
		return err
	}
	seconds := time.Since(begin).Seconds()
	s[cpu] = (after.CPU - before.CPU).Seconds() / seconds * 100
	s[writes] = float64(after.Written-before.Written) / seconds / 1000
	return nil
}

// parseFields reads lines "key SEPARATOR value …"; what has no number is left out.
func parseFields(text, separator string) map[string]float64 {
	found := map[string]float64{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), separator)
		f := strings.Fields(value)
		if !ok || len(f) == 0 {
			continue
		}
		if n, err := strconv.ParseFloat(f[0], 64); err == nil {
			found[key] = n
		}
	}
	return found
}
