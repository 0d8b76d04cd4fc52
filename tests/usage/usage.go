// Package usage reads what a process uses from /proc (proc(5)). Only benchmarks and test programs import it.
package usage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of processor time in /proc, the same on every Linux.
const ticksPerSecond = 100

// Usage is what a process uses at one moment.
type Usage struct {
	Resident  int64         // bytes of memory in RAM
	Anonymous int64         // of these, bytes that no file backs
	CPU       time.Duration // processor time so far, user and system
	Children  time.Duration // the same of children that have ended and were waited for
	Written   int64         // bytes so far that were sent to storage
	Threads   int
	Files     int // open file descriptors
}

// Of reads the usage of a process; the caller must be allowed to trace it.
func Of(pid int) (Usage, error) {
	var u Usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	if err := u.parseStat(string(stat)); err != nil {
		return u, err
	}
	rollup, err := fields(pid, "smaps_rollup")
	if err != nil {
		return u, err
	}
	io, err := fields(pid, "io")
	if err != nil {
		return u, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	u.Resident, u.Anonymous = rollup["Rss"]<<10, rollup["Anonymous"]<<10
	u.Written, u.Files = io["write_bytes"], len(files)
	return u, nil
}

// parseStat reads the processor times and the number of threads of /proc/PID/stat.
func (u *Usage) parseStat(text string) error {
	f := strings.Fields(text[strings.LastIndex(text, ")")+1:]) // the name in parentheses may hold anything
	if len(f) < 18 {
		return fmt.Errorf("read usage: unknown form of /proc/PID/stat: %q", text)
	}
	for i, t := range []*time.Duration{&u.CPU, &u.CPU, &u.Children, &u.Children} {
		ticks, err := strconv.ParseInt(f[11+i], 10, 64)
		if err != nil {
			return fmt.Errorf("read processor time: %w", err)
		}
		*t += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	var err error
	if u.Threads, err = strconv.Atoi(f[17]); err != nil {
		return fmt.Errorf("read number of threads: %w", err)
	}
	return nil
}

// fields reads a file of /proc/PID with lines "key: value [kB]".
func fields(pid int, file string) (map[string]int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	found := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		f := strings.Fields(value)
		if !ok || len(f) == 0 {
			continue // the range of addresses in the first line of smaps_rollup
		}
		if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
			found[key] = n
		}
	}
	return found, nil
}
