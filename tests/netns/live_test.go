package netns

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics"

	"kedge/pkg/network/proxy"
	"kedge/pkg/network/proxy/state"
	"kedge/tests/netns/api"
)

// live is the whole service proxy, which follows an API server that is only memory.
type live struct {
	*world
	server *api.Server
	client kubernetes.Interface
	end    func()
}

// runProxy starts a proxy in place of the feed and waits until it is ready.
func runProxy(t *testing.T, w *world) *live {
	t.Helper()
	l := &live{world: w, server: api.NewServer()}
	l.server.Put(&v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{v1.LabelTopologyZone: zone}},
		Spec:       v1.NodeSpec{PodCIDRs: strings.Fields(nearCIDRs)},
	})
	url, stop, err := l.server.Listen()
	check(t, err)
	t.Cleanup(stop)
	l.client = must(kubernetes.NewForConfig(&rest.Config{Host: url, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeProtobuf}}))(t)
	l.start(t)
	t.Cleanup(func() { l.end() })
	return l
}

func (l *live) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	factory := informers.NewSharedInformerFactory(l.client, 0)
	asNode := l.asNode()
	asNode.NodePortAddresses, asNode.PodCIDRs = nil, nil // the proxy finds them
	p := must(proxy.New(proxy.Options{
		Node: asNode, Services: factory.Core().V1().Services().Informer(), Slices: factory.Discovery().V1().EndpointSlices().Informer(),
		Nodes: factory.Core().V1().Nodes().Informer(), Open: func() (state.Backend, error) { return l.open(l.log) },
		Register: func(...metrics.Registerable) error { return nil }, Log: l.log,
	}))(t)
	factory.Start(ctx.Done())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- p.Run(ctx, func() { close(ready) }) }()
	l.end = func() {
		cancel()
		check(t, <-done)
		factory.Shutdown()
		l.end = func() {}
	}
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("the proxy ended: %v", err)
	}
}

// put creates or changes a service with its endpoints.
func (l *live) put(s *v1.Service, endpoints ...endpoint) {
	l.call(s)
	before := l.objects[s.Name].slices
	l.objects[s.Name] = object{s, l.slices(s, endpoints)}
	l.server.Put(s.DeepCopy())
	for _, slice := range before {
		if !slices.ContainsFunc(l.objects[s.Name].slices, func(o *discovery.EndpointSlice) bool { return o.Name == slice.Name }) {
			l.server.Delete(slice.DeepCopy())
		}
	}
	for _, slice := range l.objects[s.Name].slices {
		l.server.Put(slice.DeepCopy())
	}
}

func (l *live) delete(name string) {
	l.server.Delete(l.objects[name].service.DeepCopy())
	for _, slice := range l.objects[name].slices {
		l.server.Delete(slice.DeepCopy())
	}
	delete(l.objects, name)
}

// soon asks probes until they are answered as wanted.
func (l *live) soon(t *testing.T, probes ...probe) {
	t.Helper()
	for _, p := range probes {
		for v6 := range 2 {
			err := within(10*time.Second, func() error {
				if got := l.askWithin(t, v6, p, refusalLimit); got != p.want {
					return errors.New(got)
				}
				return nil
			})
			if err != nil {
				t.Errorf("IPv%d, %s to %s: %q, want %q", 4+2*v6, p.from, p.to, err, p.want)
			}
		}
	}
}

// within tries until there is no error, and returns the last one.
func within(limit time.Duration, try func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		if err := try(); err == nil || time.Since(begin) > limit {
			return err
		}
	}
}
