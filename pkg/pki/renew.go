package pki

import (
	"context"
	"errors"
	"time"

	"kedge/pkg/lifecycle"
)

// A renewal that failed is tried again after a minute, then after twice the time, at most an hour.
const (
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// alarm waits for a moment on the clock of the wall.
type alarm interface {
	// wait returns at until, or earlier when the clock was set, or when ctx ends.
	wait(ctx context.Context, until time.Time) error
	close() error
}

// Renewer renews the leaves of a store in place when two thirds of their life are over. It sleeps on one timer until
// the earliest of these moments and wakes up when the machine's clock is set. It ends only with its context:
// what could not be renewed is logged and tried again.
func Renewer(s *Store) lifecycle.Component {
	return lifecycle.Func("certificates", func(ctx context.Context, ready func()) error {
		a, err := newClockAlarm()
		if err != nil {
			return err
		}
		ready()
		return errors.Join(s.renewUntil(ctx, a), a.close())
	})
}

func (s *Store) renewUntil(ctx context.Context, a alarm) error {
	retry := firstRetry
	for ctx.Err() == nil {
		next, err := s.renewDue(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.log.Error("renewing certificates failed: mend the cause, it is tried again", "error", err, "in", retry)
			if again := s.clock().Add(retry); again.Before(next) {
				next = again
			}
			retry = min(2*retry, lastRetry)
		default:
			retry = firstRetry
		}
		if err := a.wait(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// renewDue renews what is due, each leaf by itself, and returns when the next one will be.
func (s *Store) renewDue(ctx context.Context) (time.Time, error) {
	now := s.clock()
	next := now.Add(s.lifetimes.Leaf)
	var errs []error
	for _, l := range s.leaves {
		c, err := s.plan(ctx, l, now)
		if err == nil {
			err = s.apply(ctx, now, c)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		cert := c.issued
		if cert == nil {
			cert = c.state.cert
		}
		at := renewAt(cert)
		if !now.Before(at) { // at the end of the authority's own life a renewal does not help
			at = now.Add(lastRetry)
		}
		if at.Before(next) {
			next = at
		}
	}
	return next, errors.Join(errs...)
}
