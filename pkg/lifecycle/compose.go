package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"slices"
)

// composition marks the components that only hold others: they are not observed themselves.
type composition interface{ composed() }

type (
	sequence struct {
		name  string
		parts []Component
	}
	parallel struct {
		name  string
		parts []Component
	}
	contextKey struct{}
	runtime    struct {
		log     *slog.Logger
		observe Observer
	}
)

// Sequence starts parts in order, each when the former is ready, and stops them in reverse.
// The first part that fails stops all.
func Sequence(name string, parts ...Component) Component { return sequence{name, parts} }

// Parallel starts parts together, is ready when all are, and stops them together. The first that fails stops all.
func Parallel(name string, parts ...Component) Component { return parallel{name, parts} }

// Run runs root until ctx ends or a part fails, reporting states to observe, and returns when all has stopped.
// ready is called once, when everything in root is ready.
func Run(ctx context.Context, root Component, log *slog.Logger, observe Observer, ready func()) error {
	if observe == nil {
		observe = func(string, State, error) {}
	}
	inner := context.WithValue(ctx, contextKey{}, runtime{log, observe})
	p := start(inner, root)
	readyc := p.ready
	for {
		select {
		case <-readyc:
			readyc = nil
			ready()
		case <-ctx.Done():
			p.cancel()
			<-p.done // each part's stop is bounded inside
			if errors.Is(p.err, context.Canceled) {
				return nil
			}
			return p.err
		case <-p.done:
			return p.err
		}
	}
}

func runtimeFrom(ctx context.Context) runtime {
	if r, ok := ctx.Value(contextKey{}).(runtime); ok {
		return r
	}
	return runtime{slog.New(slog.DiscardHandler), func(string, State, error) {}}
}

func observerFrom(ctx context.Context) Observer { return runtimeFrom(ctx).observe }

func (s sequence) Name() string { return s.name }
func (s sequence) composed()    {}

func (s sequence) Run(ctx context.Context, ready func()) error {
	g := newGroup(ctx, len(s.parts))
	for _, c := range s.parts {
		p := g.start(c)
		select {
		case <-p.ready:
			continue
		case <-ctx.Done():
		case <-g.failed:
		}
		return g.stopReverse()
	}
	return g.wait(ready, g.stopReverse)
}

func (s parallel) Name() string { return s.name }
func (s parallel) composed()    {}

func (s parallel) Run(ctx context.Context, ready func()) error {
	g := newGroup(ctx, len(s.parts))
	for _, c := range s.parts {
		g.start(c)
	}
	for _, p := range g.running {
		select {
		case <-p.ready:
			continue
		case <-ctx.Done():
		case <-g.failed:
		}
		return g.stopAll()
	}
	return g.wait(ready, g.stopAll)
}

// group holds the running parts of one composition.
type group struct {
	ctx     context.Context //nolint:containedctx // lives exactly as long as the composition's Run
	runtime runtime
	running []*process
	failed  chan struct{} // receives once for each part that ended
}

func newGroup(ctx context.Context, n int) *group {
	return &group{ctx: ctx, runtime: runtimeFrom(ctx), failed: make(chan struct{}, n)}
}

func (g *group) start(c Component) *process {
	p := start(g.ctx, c)
	g.running = append(g.running, p)
	go func() { <-p.done; g.failed <- struct{}{} }()
	return p
}

func (g *group) wait(ready func(), stop func() error) error {
	ready()
	select {
	case <-g.ctx.Done():
	case <-g.failed:
	}
	return stop()
}

// ended returns the errors of the parts that are over by themselves.
func (g *group) ended() error {
	var errs []error
	for _, p := range g.running {
		select {
		case <-p.done:
			if g.ctx.Err() == nil || !errors.Is(p.err, context.Canceled) {
				errs = append(errs, p.err)
			}
		default:
		}
	}
	return errors.Join(errs...)
}

func (g *group) stopReverse() error {
	errs := []error{g.ended()}
	for _, c := range slices.Backward(g.running) {
		errs = append(errs, c.stop(g.runtime.log, g.runtime.observe))
	}
	return errors.Join(errs...)
}

func (g *group) stopAll() error {
	first := g.ended()
	results := make(chan error, len(g.running))
	for _, p := range g.running {
		go func() { results <- p.stop(g.runtime.log, g.runtime.observe) }()
	}
	errs := []error{first}
	for range g.running {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}
