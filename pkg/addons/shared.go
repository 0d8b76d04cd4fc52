package addons

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// sharedName is the ConfigMap in kube-system that holds the values on which all servers agree.
const sharedName = "kedge-config"

// Shared are the values that all servers of a cluster have in common, by the name of the flag that sets them.
type Shared map[string]string

// agree stores the values when the cluster has none yet, and compares them otherwise.
func (s Shared) agree(ctx context.Context, client dynamic.Interface) error {
	target := client.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(metav1.NamespaceSystem)
	existing, err := target.Get(ctx, sharedName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = target.Create(ctx, s.object(), metav1.CreateOptions{FieldManager: fieldManager})
		if apierrors.IsAlreadyExists(err) { // another server was first
			return s.agree(ctx, client)
		}
		if err != nil {
			return fmt.Errorf("store %s: %w", sharedName, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", sharedName, err)
	}
	stored, _, err := unstructured.NestedStringMap(existing.Object, "data")
	if err != nil {
		return fmt.Errorf("read %s: %w", sharedName, err)
	}
	return s.compare(stored)
}

// compare names every value that differs, with both sides.
func (s Shared) compare(stored map[string]string) error {
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if had, ok := stored[key]; ok && had != s[key] {
			differ = append(differ, fmt.Sprintf("--%s is %q here and %q in the cluster", key, s[key], had))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("this server was started with other values than the cluster was made with: %s; "+
		"start it with the cluster's values (kubectl -n kube-system get configmap %s)", strings.Join(differ, "; "), sharedName)
}

func (s Shared) object() *unstructured.Unstructured {
	data := make(map[string]any, len(s))
	for k, v := range s {
		data[k] = v
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": sharedName, "namespace": metav1.NamespaceSystem},
		"data":     data,
	}}
}
