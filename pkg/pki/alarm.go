package pki

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clockAlarm is a Linux timer on the clock of the wall (timerfd_create(2)). Unlike a timer on the monotonic clock it counts the
// time a machine was suspended, and it reports when somebody sets the clock: a machine without a battery for its clock
// jumps by years when it first reaches a time server.
type clockAlarm struct {
	fd   int
	file *os.File
}

func newClockAlarm() (*clockAlarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	return &clockAlarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (a *clockAlarm) wait(ctx context.Context, until time.Time) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(until.UnixNano(), 1))} // 0 would disarm it
	err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &spec, nil)
	if errors.Is(err, unix.ECANCELED) {
		return nil // set since the last call
	}
	if err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = a.file.SetReadDeadline(time.Unix(1, 0)) }) // ends the read
	defer stop()
	_, err = a.file.Read(make([]byte, 8))
	if err == nil || ctx.Err() != nil || errors.Is(err, unix.ECANCELED) {
		return nil
	}
	return fmt.Errorf("wait for timer: %w", err)
}

func (a *clockAlarm) close() error {
	if err := a.file.Close(); err != nil {
		return fmt.Errorf("close timer: %w", err)
	}
	return nil
}
