package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// measureStock does to the upstream programs what measureKedge does to kedge.
func measureStock(ctx context.Context, o options) (s sample, err error) {
	dir, err := os.MkdirTemp("", "kedge-bench-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lab := filepath.Join(filepath.Dir(filepath.Dir(o.stock)), "lab", "lab")
	tool := func(ctx context.Context, name string, args ...string) (map[string]float64, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "LAB="+filepath.Join(dir, "lab"), "LABNET=10.98.0")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s %v: %w", filepath.Base(name), args, err)
		}
		return parseFields(string(out), " "), nil
	}
	if _, err := tool(ctx, lab, "up", "1"); err != nil {
		return nil, err
	}
	defer func() {
		_, e := tool(context.WithoutCancel(ctx), lab, "down")
		err = errors.Join(err, e, os.RemoveAll(dir))
	}()
	cold, err := tool(ctx, o.stock, "up", "1")
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, o.settle); err != nil {
		return nil, err
	}
	rest, err := tool(ctx, o.stock, "measure", "1", strconv.Itoa(int(o.idle.Seconds())))
	if err != nil {
		return nil, err
	}
	for _, step := range []string{"kill", "boot"} {
		if _, err := tool(ctx, lab, step, "1"); err != nil {
			return nil, err
		}
	}
	again, err := tool(ctx, o.stock, "up", "1")
	if err != nil {
		return nil, err
	}
	const mib = 1.048576 // the tool counts in 2^20 bytes
	return sample{
		apiReady: cold["api_ready_s"], nodeReady: cold["node_ready_s"], usable: cold["usable_s"], restart: again["api_ready_s"],
		resident: rest["rss_mb"] * mib, anonymous: rest["anon_mb"] * mib, cpu: rest["idle_cpu_pct"], writes: rest["idle_write_kBps"],
	}, nil
}
