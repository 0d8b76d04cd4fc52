package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of processor time in /proc, the same on every Linux.
const ticksPerSecond = 100

// idle fills in what a process uses while nothing is asked of it.
func idle(ctx context.Context, s sample, pid int, d time.Duration) error {
	rollup, err := fields(pid, "smaps_rollup")
	if err != nil {
		return err
	}
	s[resident], s[anonymous] = rollup["Rss"]*1024/1e6, rollup["Anonymous"]*1024/1e6
	before, err := usage(pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := wait(ctx, d); err != nil {
		return err
	}
	after, err := usage(pid)
	if err != nil {
		return err
	}
	seconds := time.Since(begin).Seconds()
	s[cpu] = (after.ticks - before.ticks) / ticksPerSecond / seconds * 100
	s[writes] = (after.written - before.written) / seconds / 1000
	return nil
}

type used struct{ ticks, written float64 }

func usage(pid int) (used, error) {
	io, err := fields(pid, "io")
	if err != nil {
		return used{}, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return used{}, fmt.Errorf("read processor time: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	f := strings.Fields(rest)
	if len(f) < 13 {
		return used{}, fmt.Errorf("read processor time: %q", text)
	}
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	if err1 != nil || err2 != nil {
		return used{}, fmt.Errorf("read processor time: %q", text)
	}
	return used{user + system, io["write_bytes"]}, nil
}

// fields reads a file of /proc/PID with lines "key: value [kB]".
func fields(pid int, file string) (map[string]float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return parseFields(string(text), ":"), nil
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
