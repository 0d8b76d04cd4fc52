package server

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kedge/pkg/lifecycle"
)

// The pace of the garbage collector, in per cent of the live heap (GOGC). Both trade processor time, of which an idle node
// has plenty, for memory, of which it has little; ARCHITECTURE.md has the measurements.
const (
	startPercent = 40 // a start leaves its long-lived objects between short-lived ones: more garbage, more holes for ever
	idlePercent  = 20
)

// settleAfter is how long after the start the heap is expected to have its final shape: informers have synced.
const settleAfter = 15 * time.Second

// startMemory sets the pace of the garbage collector for the start. Half of the machine's memory is a soft limit, beyond which
// the collector works harder. GOGC and GOMEMLIMIT, when set, are the user's and are left alone.
func startMemory(machineBytes uint64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(min(machineBytes/2, math.MaxInt64)))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(startPercent)
	}
}

// settleMemory is a component that, once, gives back what only the start needed.
func settleMemory(log *slog.Logger) lifecycle.Component {
	return lifecycle.Func("memory", func(ctx context.Context, ready func()) error {
		ready()
		timer := time.NewTimer(settleAfter)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(idlePercent)
		}
		debug.FreeOSMemory()
		if err := forgetText(); err != nil {
			log.Debug("pages of the executable stay mapped", "error", err)
		}
		<-ctx.Done()
		return nil
	})
}

// forgetText unmaps the pages of the executable's code and constants, three quarters of which only the start has used.
// What is used again comes back from the page cache without reading the disk; the rest the kernel may use for something
// else when memory is short. See MADV_DONTNEED in madvise(2): private mappings that are never written lose nothing.
func forgetText() error {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read mappings: %w", err)
	}
	defer maps.Close() //nolint:errcheck // read only
	executable, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find executable: %w", err)
	}
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[5] != executable || strings.Contains(fields[1], "w") {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
			return fmt.Errorf("parse mapping %q: %w", fields[0], err)
		}
		if err := unix.Madvise(mapped(from, to), unix.MADV_DONTNEED); err != nil {
			return fmt.Errorf("unmap %s: %w", fields[0], err)
		}
	}
	return nil
}

// mapped is the memory between two addresses of a mapping of this process that lasts as long as the process.
func mapped(from, to uintptr) []byte {
	//nolint:govet // the address is the kernel's, not a converted Go pointer, and outside of the heap
	return unsafe.Slice((*byte)(unsafe.Pointer(from)), to-from)
}
