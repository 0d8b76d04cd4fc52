// Package addons keeps kedge's own objects in the cluster: the rights of its parts, the DNS service and the values
// that all servers must share. Objects are applied on the server's side under the field manager kedge, so that
// fields which a user sets are left alone. It is used by pkg/server only.
package addons

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/lifecycle"
)

const fieldManager = "kedge"

// Config of the add-ons. All fields are required.
type Config struct {
	Kubeconfig        string     // an administrator of the cluster
	KubernetesService netip.Addr // the address of the kubernetes service, which the API server makes
	Values            Values
	Shared            Shared
	Log               *slog.Logger
}

// New returns a component that is ready when everything has been applied and the kubernetes service exists. It ends with an error when the cluster was
// made with other values than this server was started with.
func New(c Config) lifecycle.Component {
	return lifecycle.Step("add-ons", func(ctx context.Context) error {
		cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
		if err != nil {
			return fmt.Errorf("load administrator's credentials: %w", err)
		}
		client, err := dynamic.NewForConfig(cfg)
		if err != nil {
			return fmt.Errorf("create client: %w", err)
		}
		objects, err := Objects(c.Values)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := apply(ctx, client, o, c.Log); err != nil {
				return err
			}
		}
		if err := c.Shared.agree(ctx, client); err != nil {
			return err
		}
		return newLeaked(client, c.Log).waitKubernetes(ctx, c.KubernetesService.String())
	})
}

// backoff of what cannot be done yet, for example because a namespace is still being made. It ends at one try each longest.
func backoff(longest time.Duration) wait.Backoff {
	return wait.Backoff{Duration: 20 * time.Millisecond, Factor: 1.5, Jitter: 0.1, Steps: 20, Cap: longest}
}

// patience is how long an object may be called invalid: the API server calls a Service so until it has loaded the ranges of
// cluster IPs, which may be a moment after it is ready, and while its address is taken, see [leaked].
const patience = 15 * time.Second

// apply tries until the object is accepted or can never be.
func apply(ctx context.Context, client dynamic.Interface, o *unstructured.Unstructured, log *slog.Logger) error {
	resource, ok := resources()[o.GroupVersionKind()]
	if !ok {
		return fmt.Errorf("apply %s %s: kind is not in the table of resources", o.GetKind(), o.GetName())
	}
	var target dynamic.ResourceInterface = client.Resource(resource)
	if ns := o.GetNamespace(); ns != "" {
		target = client.Resource(resource).Namespace(ns)
	}
	addresses := newLeaked(client, log)
	begin := time.Now()
	err := backoff(5*time.Second).DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		_, err := target.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		switch {
		case err == nil:
			return true, nil
		case apierrors.IsBadRequest(err), apierrors.IsInvalid(err) && time.Since(begin) > patience:
			return false, err
		case apierrors.IsInvalid(err):
			addresses.freeOf(ctx, o)
		}
		log.Debug("object cannot be applied yet", "kind", o.GetKind(), "name", o.GetName(), "error", err)
		return false, nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return err
}
