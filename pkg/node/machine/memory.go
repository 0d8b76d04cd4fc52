package machine

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory returns the machine's memory or, when smaller, the limit of this process's cgroup and its parents.
func memory(all []Hierarchy) (bytes uint64, limited bool, err error) {
	total, err := meminfo("/proc/meminfo", "MemTotal")
	if err != nil {
		return 0, false, err
	}
	if limit := memoryLimit(all); limit < total {
		return limit, true, nil
	}
	return total, false, nil
}

func memoryLimit(all []Hierarchy) uint64 {
	for _, h := range all {
		for _, c := range h.Controllers {
			if c != "memory" {
				continue
			}
			if h.Version == 1 {
				return v1Limit(filepath.Join(h.Dir(), "memory.stat"))
			}
			return v2Limit(h.Dir(), h.Mount)
		}
	}
	return math.MaxUint64
}

// v1Limit reads the smallest limit from the cgroup up to the root; the kernel has computed it.
func v1Limit(file string) uint64 {
	value, err := field(file, "hierarchical_memory_limit")
	if err != nil {
		return math.MaxUint64
	}
	return value
}

// v2Limit walks from the cgroup up to the mount; the root has no memory.max.
func v2Limit(dir, mount string) uint64 {
	limit := uint64(math.MaxUint64)
	for {
		text, err := os.ReadFile(filepath.Join(dir, "memory.max"))
		if err == nil {
			if value, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
				limit = min(limit, value)
			}
		}
		if dir == mount || len(dir) <= len(mount) {
			return limit
		}
		dir = filepath.Dir(dir)
	}
}

// meminfo reads a line of /proc/meminfo, in bytes.
func meminfo(file, name string) (uint64, error) {
	kib, err := field(file, name+":")
	return kib * 1024, err
}

// field reads the number after name in a file of "name number" lines.
func field(file, name string) (uint64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, fmt.Errorf("read memory size: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		parts := strings.Fields(s.Text())
		if len(parts) < 2 || parts[0] != name {
			continue
		}
		value, err := strconv.ParseUint(parts[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse %s in %s: %w", name, file, err)
		}
		return value, nil
	}
	return 0, fmt.Errorf("read memory size: no line %q in %s", name, file)
}

// SwapBytes returns the size of the machine's swap space.
func SwapBytes() (uint64, error) { return meminfo("/proc/meminfo", "SwapTotal") }
