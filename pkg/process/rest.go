package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"kedge/pkg/lifecycle"
)

// The pace of the garbage collector, in per cent of the live heap (GOGC). Both trade processor time, of which an idle node
// has plenty, for memory, of which it has little; ARCHITECTURE.md has the measurements.
const (
	startPercent = 40 // a start leaves its long-lived objects between short-lived ones: more garbage, more holes for ever
	idlePercent  = 30
)

// timerSlack is how late a timer of an idle process may be, so that the kernel can handle many with one wake-up
// (PR_SET_TIMERSLACK in prctl(2); 50 µs otherwise). Hundreds of upstream's timers go off each second for nothing.
const timerSlack = 40 * time.Millisecond

// settleAfter is how long after the start the heap is expected to have its final shape: informers have synced.
const settleAfter = 15 * time.Second

// StartMemory sets the pace of the garbage collector for the start. Half of the machine's memory is a soft limit, beyond which
// the collector works harder. GOGC and GOMEMLIMIT, when set, are the user's and are left alone.
func StartMemory(machineBytes uint64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(min(machineBytes/2, math.MaxInt64)))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(startPercent)
	}
}

// ComeToRest is a component that, once, gives back what only the start needed and lets timers be late together.
func ComeToRest(log *slog.Logger) lifecycle.Component {
	return lifecycle.Func("rest", func(ctx context.Context, ready func()) error {
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
		if err := dropStartPages(); err != nil {
			log.Debug("pages of the executable stay mapped", "error", err)
		}
		if err := slackenTimers(); err != nil {
			log.Debug("timers keep their precision", "error", err)
		}
		<-ctx.Done()
		return nil
	})
}

// slackenTimers sets the slack of the threads that there are; threads inherit it from the one that makes them. The second
// thread is the Go runtime's monitor, which sleeps for microseconds to notice blocked threads: it keeps its precision.
func slackenTimers() error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	var threads []int
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			threads = append(threads, id)
		}
	}
	slices.Sort(threads)
	var errs []error
	for i, id := range threads {
		if i == 1 {
			continue
		}
		file := fmt.Sprintf("/proc/%d/timerslack_ns", id)
		err := os.WriteFile(file, []byte(strconv.FormatInt(timerSlack.Nanoseconds(), 10)), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a thread may have ended
			errs = append(errs, fmt.Errorf("set timer slack: %w", err))
		}
	}
	return errors.Join(errs...)
}
