package server

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"time"

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
func settleMemory() lifecycle.Component {
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
		<-ctx.Done()
		return nil
	})
}
