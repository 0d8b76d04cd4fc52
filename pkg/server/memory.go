package server

import (
	"math"
	"os"
	"runtime/debug"
)

const (
	// startLimit is how much the heap may grow before the first collection: a start allocates about 600 MB in all, of
	// which a tenth stays, and collecting meanwhile costs a fifth of the processor time of the start.
	startLimit = 512 << 20
	// idlePercent trades processor time, of which an idle node has plenty, for memory, of which it has little.
	idlePercent = 30
)

// memory sets the pace of the garbage collector. GOGC and GOMEMLIMIT, when set, are the user's and are left alone.
type memory struct {
	percent, limit bool // whether kedge decides
	bytes          uint64
}

// startMemory lets the heap grow freely up to a limit while everything starts, on machines that have the memory.
func startMemory(machineBytes uint64) memory {
	m := memory{percent: os.Getenv("GOGC") == "", limit: os.Getenv("GOMEMLIMIT") == "", bytes: machineBytes}
	if m.percent && m.limit && machineBytes >= 3*startLimit {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(startLimit)
	}
	return m
}

// settle collects what the start left behind, gives it back to the kernel, and sets the pace of an idle node: half
// of the machine's memory is a soft limit, beyond which the collector works harder.
func (m memory) settle() {
	if m.limit {
		debug.SetMemoryLimit(int64(min(m.bytes/2, math.MaxInt64)))
	}
	if m.percent {
		debug.SetGCPercent(idlePercent)
	}
	debug.FreeOSMemory()
}
