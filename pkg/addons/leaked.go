package addons

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const (
	// leakPatience is how long an address must be seen without its service: another server may be making the service.
	leakPatience = 2 * time.Second
	// serviceLimit is how long the kubernetes service is waited for: the API server tries to make it every ten seconds.
	serviceLimit = leakPatience + 15*time.Second
	// allocator is the value of the label networkingv1.LabelManagedBy of the addresses that the API server allocates.
	allocator = "ipallocator.k8s.io"
)

// leaked frees the fixed addresses of services that do not exist. The API server stores a service's addresses as objects of
// their own, before the service (KEP-1880). When it is killed between the two, it refuses to make the service until it has
// freed the addresses, 60 s after they were made, or later if the clock has gone back since.
type leaked struct {
	client dynamic.Interface
	log    *slog.Logger
	seen   map[types.UID]time.Time // since when an address is known to be without its service
}

func newLeaked(client dynamic.Interface, log *slog.Logger) *leaked {
	return &leaked{client: client, log: log, seen: map[types.UID]time.Time{}}
}

// free frees those of a service's addresses that have been without it for [leakPatience]. It is to be called until the
// service exists, which it reports.
func (l *leaked) free(ctx context.Context, service types.NamespacedName, addresses []string) (exists bool, err error) {
	services := l.client.Resource(corev1.SchemeGroupVersion.WithResource("services")).Namespace(service.Namespace)
	switch _, err := services.Get(ctx, service.Name, metav1.GetOptions{}); {
	case err == nil:
		return true, nil
	case !apierrors.IsNotFound(err):
		return false, fmt.Errorf("look for service %s: %w", service, err)
	}
	for _, a := range addresses {
		if err := l.freeOne(ctx, service, a); err != nil {
			return false, err
		}
	}
	return false, nil
}

// freeOf is free for an object that cannot be applied.
func (l *leaked) freeOf(ctx context.Context, o *unstructured.Unstructured) {
	if o.GetKind() != "Service" {
		return
	}
	addresses, _, err := unstructured.NestedStringSlice(o.Object, "spec", "clusterIPs")
	if err == nil {
		_, err = l.free(ctx, types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}, addresses)
	}
	if err != nil {
		l.log.Debug("addresses of a service cannot be freed", "service", o.GetName(), "error", err)
	}
}

func (l *leaked) freeOne(ctx context.Context, service types.NamespacedName, address string) error {
	target := l.client.Resource(networkingv1.SchemeGroupVersion.WithResource("ipaddresses"))
	object, err := target.Get(ctx, address, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for address %s: %w", address, err)
	}
	ok, err := allocatedTo(object, service)
	if err != nil || !ok {
		return err
	}
	uid := object.GetUID()
	since, known := l.seen[uid]
	if !known {
		since = time.Now()
		l.seen[uid] = since
	}
	if time.Since(since) < leakPatience {
		return nil
	}
	err = target.Delete(ctx, address, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(uid))})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // freed by another, perhaps taken again
		return nil
	case err != nil:
		return fmt.Errorf("free address %s: %w", address, err)
	}
	l.log.Warn("address of a service that does not exist is freed: a server was killed while it made the service", "address", address, "service", service.String())
	return nil
}

// allocatedTo reports whether the API server has allocated the address to this service.
func allocatedTo(object *unstructured.Unstructured, service types.NamespacedName) (bool, error) {
	var address networkingv1.IPAddress
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &address); err != nil {
		return false, fmt.Errorf("decode address %s: %w", object.GetName(), err)
	}
	want := networkingv1.ParentReference{Resource: "services", Namespace: service.Namespace, Name: service.Name}
	parent := address.Spec.ParentRef
	return address.Labels[networkingv1.LabelManagedBy] == allocator && parent != nil && *parent == want, nil
}

// waitKubernetes waits until the API server has made the kubernetes service: pods find the API server by it. When that
// takes longer than [serviceLimit] it says so and lets the server start.
func (l *leaked) waitKubernetes(ctx context.Context, address string) error {
	service := types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}
	begin := time.Now()
	return backoff(500*time.Millisecond).DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		exists, err := l.free(ctx, service, []string{address})
		if exists {
			return true, nil
		}
		if err != nil {
			l.log.Debug("the kubernetes service cannot be looked for yet", "error", err)
		}
		if time.Since(begin) < serviceLimit {
			return false, nil
		}
		l.log.Warn("the API server has not made the kubernetes service: new pods will not find the API server",
			"address", address, "waited", serviceLimit, "try", "kubectl get ipaddress "+address)
		return true, nil
	})
}
