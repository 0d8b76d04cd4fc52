package machine

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the state of the machine's clock.
type Clock struct {
	Now          time.Time
	Synchronised bool          // the kernel has been told so by a time client
	MaxError     time.Duration // the kernel's bound, when synchronised
}

// Sane tells whether the time can be right at all: certificates made under a clock that has lost its battery are
// useless once it is set.
func (c Clock) Sane() bool { return c.Now.Year() >= 2025 && c.Now.Year() < 2100 }

// ReadClock asks the kernel; nothing is adjusted.
func ReadClock() (Clock, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Clock{Now: time.Now()}, fmt.Errorf("read clock state: %w", err)
	}
	c := Clock{Now: time.Now(), Synchronised: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0}
	c.MaxError = time.Duration(t.Maxerror) * time.Microsecond
	return c, nil
}
