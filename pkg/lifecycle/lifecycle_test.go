package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// recorder collects what components do, in order.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, " ")
}

func (r *recorder) part(name string) Component {
	return Func(name, func(ctx context.Context, ready func()) error {
		r.add("+%s", name)
		ready()
		<-ctx.Done()
		r.add("-%s", name)
		return nil
	})
}

func (r *recorder) broken(name string, err error) Component {
	return Func(name, func(context.Context, func()) error { r.add("!%s", name); return err })
}

func TestCompositions(t *testing.T) {
	boom := errors.New("boom")
	for _, tc := range []struct {
		name    string
		build   func(r *recorder) Component
		want    string
		wantErr string
	}{
		{"sequence starts in order and stops in reverse",
			func(r *recorder) Component { return Sequence("s", r.part("a"), r.part("b"), r.part("c")) },
			"+a +b +c ready -c -b -a", ""},
		{"nested",
			func(r *recorder) Component {
				return Sequence("s", r.part("a"), Parallel("p", Sequence("q", r.part("b"), r.part("c"))), r.part("d"))
			},
			"+a +b +c +d ready -d -c -b -a", ""},
		{"a failure stops what runs",
			func(r *recorder) Component { return Sequence("s", r.part("a"), r.broken("b", boom), r.part("c")) },
			"+a !b -a", "b: boom"},
		{"a nil return before the end is an error",
			func(r *recorder) Component { return Sequence("s", r.part("a"), r.broken("b", nil)) },
			"+a !b -a", "b: returned before it was asked to stop"},
		{"a panic is an error",
			func(r *recorder) Component {
				return Sequence("s", r.part("a"), Func("b", func(context.Context, func()) error { panic("oh") }))
			},
			"+a -a", "b: panic: oh"},
		{"deferred parts are built when they start",
			func(r *recorder) Component {
				return Sequence("s", r.part("a"), Deferred("b", func() (Component, error) { r.add("build"); return r.part("b"), nil }))
			},
			"+a build +b ready -b -a", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() {
					done <- Run(ctx, tc.build(r), slog.New(slog.DiscardHandler), nil, func() { r.add("ready") })
				}()
				synctest.Wait()
				cancel()
				err := <-done
				if got := r.text(); got != tc.want {
					t.Errorf("order: got %q, want %q", got, tc.want)
				}
				if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
					t.Errorf("error: got %v, want %q", err, tc.wantErr)
				}
			})
		})
	}
}

func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := Func("stuck", func(_ context.Context, ready func()) error { ready(); <-release; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, Sequence("s", stuck), slog.New(slog.DiscardHandler), nil, func() {})
		}()
		synctest.Wait()
		begin := time.Now()
		cancel()
		err := <-done
		if took := time.Since(begin); took != StopTimeout {
			t.Errorf("stop took %s, want %s", took, StopTimeout)
		}
		if err == nil || !strings.Contains(err.Error(), "stuck: did not stop within 30s") {
			t.Errorf("got %v", err)
		}
		close(release)
	})
}

func TestObserverSeesParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		observe := func(name string, s State, _ error) { r.add("%s:%s", name, s) }
		part := func(name string) Component {
			return Func(name, func(ctx context.Context, ready func()) error { ready(); <-ctx.Done(); return nil })
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, Sequence("s", part("a"), part("b")), slog.New(slog.DiscardHandler), observe, func() {})
		}()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := "a:starting a:ready b:starting b:ready b:stopping b:stopped a:stopping a:stopped"
		if got := r.text(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
