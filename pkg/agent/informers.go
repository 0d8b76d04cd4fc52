package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/lifecycle"
)

// annotationPrefix is that of the annotations by which users tell kedge something.
const annotationPrefix = "kedge.io/"

// proxied selects the services that are this proxy's, and their endpoint slices: not those that name another proxy, and not
// headless ones, of which the slices are marked.
const proxied = "!service.kubernetes.io/service-proxy-name,!" + corev1.IsHeadlessService

// patience is how often a request that is forbidden is tried: for about three seconds.
const patience = 12

// informers watch what the parts of the node share, once for all of them, with the node's identity. Handlers may be added
// before and after the start. Objects are read-only and lack what no part reads: managed fields, a node's images and volumes,
// annotations other than kedge's and the trigger time of endpoint slices.
type informers struct {
	client   kubernetes.Interface
	nodes    cache.SharedIndexInformer // all nodes
	services cache.SharedIndexInformer // those of this proxy
	slices   cache.SharedIndexInformer // those of services of this proxy
}

// newInformers connects with the node's credentials, which must be known.
func (a *Agent) newInformers() (*informers, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", a.credentials.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load node's credentials: %w", err)
	}
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	return makeInformers(client)
}

func makeInformers(client kubernetes.Interface) (*informers, error) {
	nodes, services := client.CoreV1().Nodes(), client.CoreV1().Services(metav1.NamespaceAll)
	slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	i := &informers{
		client:   client,
		nodes:    informer(client, &corev1.Node{}, nodes.List, nodes.Watch, ""),
		services: informer(client, &corev1.Service{}, services.List, services.Watch, proxied),
		slices:   informer(client, &discoveryv1.EndpointSlice{}, slices.List, slices.Watch, proxied),
	}
	for _, s := range []cache.SharedIndexInformer{i.nodes, i.services, i.slices} {
		if err := s.SetTransform(slim); err != nil {
			return nil, fmt.Errorf("prepare watch: %w", err)
		}
	}
	return i, nil
}

func informer[List runtime.Object](
	client kubernetes.Interface, object runtime.Object,
	list func(context.Context, metav1.ListOptions) (List, error),
	watchFunc func(context.Context, metav1.ListOptions) (watch.Interface, error), labels string,
) cache.SharedIndexInformer {
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = labels
			return patiently(ctx, func() (runtime.Object, error) { return list(ctx, o) })
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = labels
			return patiently(ctx, func() (watch.Interface, error) { return watchFunc(ctx, o) })
		},
	}
	return cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(source, client), object, cache.SharedIndexInformerOptions{})
}

// patiently repeats for some seconds what is not allowed yet: at the very first start the node's rights in the cluster are made
// while the node starts, and the watches' own back-off begins with a second.
func patiently[T any](ctx context.Context, do func() (T, error)) (result T, err error) {
	tries := 0
	backoff := wait.Backoff{Duration: 20 * time.Millisecond, Factor: 1.5, Steps: patience, Cap: time.Second}
	_ = backoff.DelayFunc().Until(ctx, true, false, func(context.Context) (bool, error) { // what do says counts
		tries++
		result, err = do()
		return !apierrors.IsForbidden(err) || tries == patience, nil
	})
	return result, err
}

// watchCluster runs the informers. It is ready at once: who needs objects waits for them itself.
func (a *Agent) watchCluster(ctx context.Context, ready func()) error {
	shared, err := a.informers()
	if err != nil {
		return err
	}
	parts := []cache.SharedIndexInformer{shared.nodes}
	if a.Config.ProxyMode != proxyNone {
		parts = append(parts, shared.services)
	}
	if a.Config.ProxyMode != proxyNone || a.Servers != nil {
		parts = append(parts, shared.slices)
	}
	done := make(chan struct{}, len(parts))
	for _, i := range parts {
		go func() { i.RunWithContext(ctx); done <- struct{}{} }()
	}
	ready()
	for range parts {
		<-done
	}
	return nil
}

// watches is the component of the informers.
func (a *Agent) watches() lifecycle.Component { return lifecycle.Func("watches", a.watchCluster) }

// slim takes away what no part of the node reads, before the object is stored.
func slim(obj any) (any, error) {
	object, ok := obj.(metav1.Object)
	if !ok {
		return obj, nil // a tombstone
	}
	object.SetManagedFields(nil)
	kept := map[string]string{}
	for k, v := range object.GetAnnotations() {
		if strings.HasPrefix(k, annotationPrefix) || k == corev1.EndpointsLastChangeTriggerTime {
			kept[k] = v
		}
	}
	if len(kept) == 0 {
		kept = nil
	}
	object.SetAnnotations(kept)
	switch o := obj.(type) {
	case *corev1.Node:
		o.Status.Images, o.Status.VolumesInUse, o.Status.VolumesAttached = nil, nil, nil
	case *discoveryv1.EndpointSlice:
		for i := range o.Endpoints {
			e := &o.Endpoints[i]
			e.TargetRef, e.Hostname, e.DeprecatedTopology = nil, nil, nil
		}
	}
	return obj, nil
}
