package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/metrics"

	"kedge/pkg/network/proxy/state"
)

// Options of the proxy. Fields are required unless they say otherwise.
type Options struct {
	Node     state.Node // without NodePortAddresses and PodCIDRs, which the proxy follows
	Services cache.SharedIndexInformer
	Slices   cache.SharedIndexInformer
	Nodes    cache.SharedIndexInformer

	NodePortAddresses []string // optional: networks whose addresses answer node ports, or Primary; by default all

	// Open makes the backend, in the goroutine of Run.
	Open func() (state.Backend, error)
	// Served is called when the kernel has everything for the first time, and again later if it fails. Optional.
	Served func() error
	// Register takes metrics; once for each process.
	Register func(...metrics.Registerable) error

	Log *slog.Logger
}

// Proxy serves the addresses of Services. It is a lifecycle component that runs once.
type Proxy struct {
	Options
	nodePorts nodePorts
	wishes    *wishes
	meters    *meters
	health    proxyHealth

	changed chan struct{} // something was told to the trackers

	mu    sync.Mutex
	place *place // of the node; nil: as before
}

// place is where the node stands in the cluster.
type place struct {
	labels map[string]string // as far as they matter
	pods   []netip.Prefix
}

// New checks the options and changes nothing.
func New(o Options) (*Proxy, error) {
	ports, err := parseNodePorts(o.NodePortAddresses, o.Node.Addresses, o.Node.ServiceCIDRs)
	if err != nil {
		return nil, err
	}
	has := func(v6 bool) bool {
		return slices.ContainsFunc(o.Node.ServiceCIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() == v6 })
	}
	if !has(false) && !has(true) {
		return nil, errors.New("serve services: there is no service CIDR: set --service-cidr")
	}
	m, err := newMeters(o.Register)
	if err != nil {
		return nil, err
	}
	return &Proxy{Options: o, nodePorts: ports, wishes: newWishes(o.Node, has(false), has(true)), meters: m, changed: make(chan struct{}, 1)}, nil
}

// Name implements lifecycle.Component.
func (p *Proxy) Name() string { return "service proxy" }

// Run follows the cluster until ctx ends. It is ready when all services are in the kernel for the first time.
func (p *Proxy) Run(ctx context.Context, ready func()) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	sweeper, err := newSweeper(p.Log)
	if err != nil {
		cancel()
		return err
	}
	var background sync.WaitGroup
	background.Go(func() { sweeper.run(ctx) })
	defer background.Wait()
	defer cancel()
	remove, err := p.listen(ctx)
	if err != nil {
		return err
	}
	defer remove()
	if ctx.Err() != nil {
		return nil
	}
	backend, err := p.Open()
	if err != nil {
		return err
	}
	r := newRunner(p, backend, sweeper)
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	return r.loop(ctx, ready)
}

// listen adds handlers to the informers and waits until the trackers know everything.
func (p *Proxy) listen(ctx context.Context) (remove func(), err error) {
	var handlers []func()
	remove = func() {
		for _, h := range handlers {
			h()
		}
	}
	for _, l := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{{p.Services, p.onService()}, {p.Slices, p.onSlice()}, {p.Nodes, p.onNode()}} {
		registration, err := l.informer.AddEventHandler(l.handler)
		if err != nil {
			remove()
			return nil, fmt.Errorf("follow services: %w", err)
		}
		handlers = append(handlers, func() { _ = l.informer.RemoveEventHandler(registration) }) // the registration is its own
		select {
		case <-ctx.Done():
			return remove, nil
		case <-registration.HasSyncedChecker().Done():
		}
	}
	return remove, nil
}

func (p *Proxy) onService() cache.ResourceEventHandler {
	tell := func(old, now any) {
		before, _ := object[corev1.Service](old)
		after, _ := object[corev1.Service](now)
		p.tell(func(f *family) bool { return f.service(before, after) })
	}
	return handler(tell)
}

func (p *Proxy) onSlice() cache.ResourceEventHandler {
	return handler(func(old, now any) {
		if slice, ok := object[discoveryv1.EndpointSlice](now); ok {
			p.tell(func(f *family) bool { return f.slice(slice, false) })
		} else if slice, ok := object[discoveryv1.EndpointSlice](old); ok {
			p.tell(func(f *family) bool { return f.slice(slice, true) })
		}
	})
}

// onNode follows the topology and the pod CIDRs of this node.
func (p *Proxy) onNode() cache.ResourceEventHandler {
	return handler(func(_, now any) {
		node, ok := object[corev1.Node](now)
		if !ok || node.Name != p.Node.Name {
			return
		}
		found := &place{labels: map[string]string{corev1.LabelTopologyZone: node.Labels[corev1.LabelTopologyZone]}}
		for _, text := range node.Spec.PodCIDRs {
			if cidr, err := netip.ParsePrefix(text); err == nil { // the API server has checked it
				found.pods = append(found.pods, cidr.Masked())
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.place = found
		wake(p.changed)
	})
}

func (p *Proxy) tell(change func(*family) bool) {
	for _, f := range p.wishes.families {
		if change(f) {
			queued(f.v6)
			wake(p.changed)
		}
	}
}

// handler makes one function of three: old is nil for what is new, now is nil for what is gone.
func handler(tell func(old, now any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(now any) { tell(nil, now) },
		UpdateFunc: tell,
		DeleteFunc: func(old any) { tell(old, nil) },
	}
}

// object is obj, or what its tombstone holds.
func object[T any](obj any) (*T, bool) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	t, ok := obj.(*T)
	return t, ok
}

// moved returns the node's place once after it was told.
func (p *Proxy) moved() *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.place
	p.place = nil
	return found
}

// pause between two steps: four times what the last took, so that a fifth of a processor is used at most, and never long.
func pause(took time.Duration) time.Duration { return min(4*took, 100*time.Millisecond) }
