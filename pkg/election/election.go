// Package election runs a component on one server of a cluster at a time, under a lease of the Kubernetes API.
//
// Upstream's components end their process when they lose their lease. Here the component alone is stopped, and started again when
// the lease is won again; only one that does not stop in time ends the process, because two at work would be worse.
// While a server is and remains the only one, there is no lease: nobody competes, and an idle machine has nothing to write.
//
// pkg/server uses it. It imports pkg/lifecycle alone of kedge.
package election

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"kedge/pkg/lifecycle"
)

// The times of upstream's components. A leader that stops gives its lease back, so that only a crash costs its duration.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second

	// RequestTimeout of the client leaves time for a second try before the lease is lost.
	RequestTimeout = renewDeadline / 2
)

// Options of an election. All fields are required.
type Options struct {
	Lease    string               // name of the Lease in kube-system
	Identity string               // of this server, unique among them
	Client   kubernetes.Interface // may write the Lease; bounds its requests to RequestTimeout
	Many     <-chan struct{}      // closed once there may be other servers
	Held     func()               // called when this server reckons with others: before it, the component runs without a lease
	Log      *slog.Logger
}

// New returns a component that runs what build returns while this server leads. It is ready when that is, or when another server leads.
func New(o Options, build func() lifecycle.Component) lifecycle.Component {
	return lifecycle.Func("leader election", func(ctx context.Context, ready func()) error {
		e := &election{Options: o, build: build, ready: sync.OnceFunc(ready)}
		return e.run(ctx)
	})
}

type election struct {
	Options
	build func() lifecycle.Component
	ready func()
}

// work is the running component.
type work struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid after done
}

func (e *election) start(ctx context.Context) *work {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &work{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = e.build().Run(run, e.ready)
	}()
	return w
}

// over is closed when the component has ended by itself; it never is when there is none.
func (w *work) over() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.done
}

// stop ends the component and waits for it; compositions bound that.
func (w *work) stop() error {
	if w == nil {
		return nil
	}
	w.cancel()
	<-w.done
	return w.err
}

func (e *election) run(ctx context.Context) error {
	var w *work
	select {
	case <-e.Many:
	default:
		w = e.start(ctx)
		select {
		case <-ctx.Done():
			return w.stop()
		case <-w.done:
			return w.err
		case <-e.Many:
		}
	}
	for ctx.Err() == nil {
		if err := e.term(ctx, w); err != nil {
			return err
		}
		w = nil
	}
	return nil
}

// term waits for the lease, leads, and ends when the lease is lost, ctx ends or the component does. w is what runs already.
func (e *election) term(ctx context.Context, w *work) error {
	won, lost, release, err := e.compete(ctx, w == nil)
	if err != nil {
		return err
	}
	defer func() { release(); <-lost }()
	if w != nil {
		e.Log.Info("there may be further servers now: taking the lease", "component", "leader election", "lease", e.Lease)
	}
	select {
	case <-ctx.Done():
		return w.stop()
	case <-w.over():
		return w.err
	case <-lost:
		return w.stop()
	case <-won:
	}
	if w == nil {
		e.Log.Info("this server leads", "component", "leader election", "lease", e.Lease)
		w = e.start(ctx)
	}
	e.Held()
	select {
	case <-ctx.Done():
	case <-w.done:
		return w.err
	case <-lost:
		e.Log.Warn("the lease was lost: another server leads", "component", "leader election", "lease", e.Lease)
	}
	return w.stop() // before the lease is given back
}

// compete runs for the lease until release is called. won is closed when the lease is held, lost when it no longer is. Who competes
// afresh may stand by while another server leads.
func (e *election) compete(ctx context.Context, afresh bool) (won, lost chan struct{}, release func(), err error) {
	won, lost = make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: e.Lease, ReleaseOnCancel: true,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: e.Lease}, Client: e.Client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: e.Identity},
		},
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(won) },
			OnStoppedLeading: func() { close(lost) },
			OnNewLeader: func(identity string) {
				if identity != e.Identity && afresh {
					e.Held() // the other one reckons with this
					e.ready()
				}
			},
		},
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("prepare election: %w", err)
	}
	run, release := context.WithCancel(context.WithoutCancel(ctx))
	go elector.Run(run)
	return won, lost, release, nil
}
