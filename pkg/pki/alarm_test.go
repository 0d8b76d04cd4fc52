package pki

import (
	"context"
	"testing"
	"time"
)

func TestClockAlarm(t *testing.T) {
	a, err := newClockAlarm()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		in, atLeast time.Duration
		cancel      bool
	}{
		{name: "past", in: -time.Hour},
		{name: "before 1970", in: -100 * 365 * 24 * time.Hour},
		{name: "soon", in: 50 * time.Millisecond, atLeast: 50 * time.Millisecond},
		{name: "soon again", in: 50 * time.Millisecond, atLeast: 50 * time.Millisecond},
		{name: "cancelled", in: time.Hour, cancel: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.cancel {
				time.AfterFunc(10*time.Millisecond, cancel)
			}
			begin := time.Now()
			if err := a.wait(ctx, begin.Add(c.in)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < c.atLeast || took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	if err := a.close(); err != nil {
		t.Error(err)
	}
}
