package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/kubernetes/pkg/proxy/healthcheck"

	"kedge/pkg/network/proxy/state"
)

const (
	resync     = 5 * time.Minute        // between two comparisons with the kernel
	firstRetry = 100 * time.Millisecond // after the kernel refused something; doubled each time
	lastRetry  = 30 * time.Second
)

// proxyHealth is whether the kernel has what is wanted; health check node ports report it.
type proxyHealth struct{ healthy atomic.Bool }

// Health is what upstream's health check server asks.
func (h *proxyHealth) Health() healthcheck.ProxyHealth {
	return healthcheck.ProxyHealth{Healthy: h.healthy.Load(), CurrentTime: time.Now()}
}

// runner is the proxy while it runs. Its methods are called by one goroutine.
type runner struct {
	*Proxy
	backend   state.Backend
	sweeper   *sweeper
	checks    []*health
	links     *netlink.Handle
	addresses <-chan struct{} // nil while there is no subscription

	pending   bool      // there is something to collect
	full      bool      // the next step compares everything
	served    bool      // a step has succeeded
	unapplied batch     // collected and not in the kernel yet
	failures  int       // in a row
	notBefore time.Time // of the next step
	compared  time.Time // when everything was compared last
	again     time.Time // when Served is called again; zero: not planned
	readdress time.Time // when the host's addresses are looked at again; zero: not needed
}

func newRunner(p *Proxy, backend state.Backend, s *sweeper) *runner {
	r := &runner{Proxy: p, backend: backend, sweeper: s, pending: true, full: true}
	for _, f := range p.wishes.families {
		r.checks = append(r.checks, newHealth(f, p.Node.Name, p.nodePorts.cidrs(), &p.health))
	}
	return r
}

// prepare subscribes to the host's addresses, and then reads them.
func (r *runner) prepare(ctx context.Context) (err error) {
	if r.links, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink for the service proxy: %w", err)
	}
	if r.addresses, err = r.nodePorts.follow(ctx); err != nil {
		return err
	}
	r.wishes.node.NodePortAddresses, err = r.nodePorts.list(r.links)
	return err
}

// close leaves the kernel as it is.
func (r *runner) close() error {
	if r.links != nil {
		r.links.Close()
	}
	var errs []error
	for _, c := range r.checks {
		errs = append(errs, c.close())
	}
	if err := r.backend.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close the backend of the service proxy: %w", err))
	}
	return errors.Join(errs...)
}

// loop takes steps when they are due, until ctx ends.
func (r *runner) loop(ctx context.Context, ready func()) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(max(0, time.Until(r.due())))
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
			r.pending = true
		case _, ok := <-r.addresses:
			if !ok {
				r.addresses = nil
			}
			r.readdress = time.Now().Add(coalesce)
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		if !r.readdress.IsZero() && !time.Now().Before(r.readdress) {
			r.lookAround(ctx)
		}
		if !time.Now().Before(r.stepDue()) {
			r.step()
		}
		if r.served && ready != nil {
			ready()
			ready = nil
		}
		r.handOver()
	}
}

// handOver tells that services are served, after a step that succeeded, until that is taken well.
func (r *runner) handOver() {
	if !r.served || r.failures > 0 || r.Served == nil || time.Now().Before(r.again) {
		return
	}
	if err := r.Served(); err != nil {
		r.again = time.Now().Add(lastRetry)
		r.Log.Warn("what served services before could not be taken away: trying again", "in", lastRetry, "error", err)
		return
	}
	r.again, r.Served = time.Time{}, nil
}

// stepDue is when the next step is to be taken.
func (r *runner) stepDue() time.Time {
	if r.pending || r.full {
		return r.notBefore
	}
	return r.compared.Add(resync)
}

func (r *runner) due() time.Time {
	due := r.stepDue()
	for _, other := range []time.Time{r.readdress, r.again} {
		if !other.IsZero() && other.Before(due) {
			due = other
		}
	}
	return due
}

// lookAround reads the host's addresses, and subscribes again when the subscription was lost.
func (r *runner) lookAround(ctx context.Context) {
	r.readdress = time.Time{}
	var err error
	if r.addresses == nil {
		r.addresses, err = r.nodePorts.follow(ctx)
	}
	found, listErr := r.nodePorts.list(r.links)
	if err = errors.Join(err, listErr); err != nil {
		r.Log.Warn("the host's addresses cannot be followed: trying again", "error", err)
		r.readdress = time.Now().Add(lastRetry)
		return
	}
	if !slices.Equal(found, r.wishes.node.NodePortAddresses) {
		r.Log.Info("node ports answer on other addresses", "addresses", found)
		r.wishes.node.NodePortAddresses = found
		r.full = true
	}
}

// step brings the kernel up to date: with what has changed, or wholly.
func (r *runner) step() {
	begin := time.Now()
	r.pending = false
	if at := r.moved(); at != nil {
		r.settle(*at)
	}
	r.unapplied.add(r.wishes.collect())
	full := r.full || time.Since(r.compared) >= resync
	repaired, err := r.apply(full)
	if err != nil {
		r.failed(err)
		return
	}
	if full && r.served && repaired > 0 && len(r.unapplied.changes) == 0 && r.failures == 0 && !r.full {
		r.meters.repairs.Add(float64(repaired))
		r.Log.Warn("repaired what others had changed of the services in the kernel", "differences", repaired)
	}
	if full {
		r.compared = time.Now()
	}
	if !r.served {
		r.Log.Info("services are served", "servicePorts", len(r.wishes.wanted), "differences", repaired, "took", time.Since(begin).Round(time.Millisecond))
	}
	r.full, r.served, r.failures = false, true, 0
	r.health.healthy.Store(true)
	r.meters.applied(r.unapplied, full, begin)
	r.finish()
	r.notBefore = time.Now().Add(pause(time.Since(begin)))
}

// settle takes over where the node stands.
func (r *runner) settle(at place) {
	if !maps.Equal(at.labels, r.wishes.labels) {
		r.wishes.relabel(at.labels)
	}
	if !slices.Equal(at.pods, r.wishes.node.PodCIDRs) {
		r.wishes.node.PodCIDRs = at.pods
		r.full = true
	}
}

func (r *runner) apply(full bool) (repaired int, err error) {
	switch {
	case full:
		repaired, err = r.backend.Sync(r.wishes.node, r.wishes.wanted)
	case len(r.unapplied.changes) > 0:
		err = r.backend.Update(r.unapplied.changes)
	}
	if err != nil {
		return 0, fmt.Errorf("program services: %w", err)
	}
	return repaired, nil
}

// failed plans the next try, which compares everything.
func (r *runner) failed(err error) {
	r.full = true
	delay := min(firstRetry<<min(r.failures, 10), lastRetry)
	r.failures++
	r.notBefore = time.Now().Add(delay)
	r.health.healthy.Store(false)
	r.meters.failures.Inc()
	r.Log.Warn("the kernel does not have all services: trying again", "tries", r.failures, "in", delay, "error", err)
}

// finish does what follows from a batch that is in the kernel.
func (r *runner) finish() {
	for _, c := range r.checks {
		if err := c.update(r.unapplied.touched[c.family]); err != nil {
			r.Log.Warn("health check node ports are not up to date", "error", err)
		}
		r.sweeper.add(c.family, r.unapplied.touched[c.family], r.wishes)
	}
	r.unapplied = batch{}
}
