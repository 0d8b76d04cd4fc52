package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestSlim(t *testing.T) {
	meta := func(annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: "a", Labels: map[string]string{"l": "1"}, Annotations: annotations}
	}
	full := meta(map[string]string{"kedge.io/proxy-scheduler": "lc", corev1.LastAppliedConfigAnnotation: "{}", corev1.EndpointsLastChangeTriggerTime: "now"})
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}}
	kept := meta(map[string]string{"kedge.io/proxy-scheduler": "lc", corev1.EndpointsLastChangeTriggerTime: "now"})
	name := "n"
	for _, c := range []struct{ given, want any }{
		{&corev1.Service{ObjectMeta: full}, &corev1.Service{ObjectMeta: kept}},
		{&corev1.Service{ObjectMeta: meta(map[string]string{"x": "y"})}, &corev1.Service{ObjectMeta: meta(nil)}},
		{
			&corev1.Node{ObjectMeta: full, Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{}}, Addresses: []corev1.NodeAddress{{Address: "192.0.2.1"}}}},
			&corev1.Node{ObjectMeta: kept, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: "192.0.2.1"}}}},
		},
		{
			&discoveryv1.EndpointSlice{ObjectMeta: full, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.42.0.2"}, NodeName: &name, TargetRef: &corev1.ObjectReference{Name: "p"}}}},
			&discoveryv1.EndpointSlice{ObjectMeta: kept, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.42.0.2"}, NodeName: &name}}},
		},
		{"a tombstone", "a tombstone"},
	} {
		got, err := slim(c.given)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("slim (-want +got):\n%s", diff)
		}
	}
}

func TestPatiently(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", nil)
	other := errors.New("other")
	for _, c := range []struct {
		name    string
		answers []error
		tries   int
		want    error
		took    time.Duration
	}{
		{"allowed", nil, 1, nil, 0},
		{"not yet allowed", []error{forbidden, forbidden}, 3, nil, 50 * time.Millisecond},
		{"another error", []error{other, nil}, 1, other, 0},
		{"never allowed", []error{11: forbidden, 12: forbidden}, 12, forbidden, 3267 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for i := range c.answers {
					if c.name == "never allowed" {
						c.answers[i] = forbidden
					}
				}
				tries, begin := 0, time.Now()
				_, err := patiently(t.Context(), func() (struct{}, error) {
					tries++
					if tries > len(c.answers) {
						return struct{}{}, nil
					}
					return struct{}{}, c.answers[tries-1]
				})
				if tries != c.tries || !errors.Is(err, c.want) {
					t.Errorf("%d tries, error %v; want %d, %v", tries, err, c.tries, c.want)
				}
				if took := time.Since(begin).Round(time.Millisecond); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := patiently(ctx, func() (struct{}, error) { cancel(); return struct{}{}, forbidden })
	if !apierrors.IsForbidden(err) {
		t.Errorf("stopped: error %v", err)
	}
}
