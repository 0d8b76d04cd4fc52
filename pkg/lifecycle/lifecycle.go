package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// StopTimeout bounds the stop of one component. A component that takes longer is reported and left behind.
const StopTimeout = 30 * time.Second

// ErrReturned is reported for a component that returned nil although nobody asked it to stop.
var ErrReturned = errors.New("returned before it was asked to stop")

// Component is a part of kedge with a lifecycle; see the package documentation for the contract.
type Component interface {
	Name() string
	Run(ctx context.Context, ready func()) error
}

// State is the phase of a component's life.
type State string

// The states of a component, in the order in which it passes them.
const (
	Starting State = "starting"
	Ready    State = "ready"
	Stopping State = "stopping"
	Stopped  State = "stopped"
	Failed   State = "failed"
)

// Observer is told of each change of a component's state; err is set with Failed only.
// It is called from the goroutine of the component and must not block.
type Observer func(component string, state State, err error)

// Func makes a Component of a function.
func Func(name string, run func(ctx context.Context, ready func()) error) Component {
	return component{name: name, run: run}
}

// Step makes a Component of work that is done once at start: it is ready when do returned nil, and then only waits.
func Step(name string, do func(ctx context.Context) error) Component {
	return component{name: name, run: func(ctx context.Context, ready func()) error {
		if err := do(ctx); err != nil {
			return err
		}
		ready()
		<-ctx.Done()
		return nil
	}}
}

type component struct {
	name string
	run  func(ctx context.Context, ready func()) error
}

func (c component) Name() string                                { return c.name }
func (c component) Run(ctx context.Context, ready func()) error { return c.run(ctx, ready) }

// process is a running component.
type process struct {
	name   string
	whole  bool // a composition: its parts are bounded one by one
	ready  chan struct{}
	done   chan struct{}
	err    error // valid after done is closed
	cancel context.CancelFunc
}

// start runs c in a goroutine of its own. Its context does not end with the caller's: the composition
// decides when each part stops.
func start(ctx context.Context, c Component) *process {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	_, composed := c.(composition)
	p := &process{name: c.Name(), whole: composed, ready: make(chan struct{}), done: make(chan struct{}), cancel: cancel}
	observe := observerFrom(ctx)
	report := func(s State, err error) {
		if !composed {
			observe(p.name, s, err)
		}
	}
	go func() {
		defer close(p.done)
		defer cancel()
		report(Starting, nil)
		var once sync.Once
		p.err = guard(run, c, func() {
			once.Do(func() { report(Ready, nil); close(p.ready) })
		})
		switch {
		case p.err == nil && run.Err() == nil:
			p.err = fmt.Errorf("%s: %w", p.name, ErrReturned)
		case p.err != nil && !composed:
			p.err = fmt.Errorf("%s: %w", p.name, p.err)
		}
		if p.err != nil {
			report(Failed, p.err)
			return
		}
		report(Stopped, nil)
	}()
	return p
}

// guard turns a panic of the component's own goroutine into an error.
func guard(ctx context.Context, c Component, ready func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return c.Run(ctx, ready)
}

// stop ends the process and waits for it, at most StopTimeout unless it is a composition.
func (p *process) stop(log *slog.Logger, observe Observer) error {
	select {
	case <-p.done: // already over; its error has been or will be collected
		return nil
	default:
	}
	begin := time.Now()
	if !p.whole {
		observe(p.name, Stopping, nil)
	}
	p.cancel()
	if err := p.wait(); err != nil {
		return err
	}
	log.Debug("component stopped", "component", p.name, "took", time.Since(begin).Round(time.Millisecond))
	if errors.Is(p.err, context.Canceled) {
		return nil
	}
	return p.err
}

func (p *process) wait() error {
	if p.whole {
		<-p.done
		return nil
	}
	timer := time.NewTimer(StopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: did not stop within %s", p.name, StopTimeout)
	}
}

// Deferred makes a Component that is built when it starts, for parts whose configuration is the work of a former part.
func Deferred(name string, build func() (Component, error)) Component {
	return component{name: name, run: func(ctx context.Context, ready func()) error {
		c, err := build()
		if err != nil {
			return err
		}
		return c.Run(ctx, ready)
	}}
}
