package addons

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

func addressResource() schema.GroupVersionResource {
	return networkingv1.SchemeGroupVersion.WithResource("ipaddresses")
}

func dns() types.NamespacedName {
	return types.NamespacedName{Namespace: "kube-system", Name: "kube-dns"}
}

// allocated is an address as the API server stores it for a service.
func allocated(address, uid string, service types.NamespacedName) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
		"metadata": map[string]any{"name": address, "uid": uid, "labels": map[string]any{"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
		"spec":     map[string]any{"parentRef": map[string]any{"resource": "services", "namespace": service.Namespace, "name": service.Name}},
	}}
}

func named(name types.NamespacedName) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"namespace": name.Namespace, "name": name.Name},
	}}
}

// deleted are the addresses that were deleted, each with the identity that was required of it.
func deleted(client *fake.FakeDynamicClient) []string {
	var all []string
	for _, a := range client.Actions() {
		if d, ok := a.(clienttesting.DeleteActionImpl); ok {
			all = append(all, d.GetResource().Resource+" "+d.Name+" "+string(*d.DeleteOptions.Preconditions.UID))
		}
	}
	return all
}

func TestFree(t *testing.T) {
	foreign := allocated("10.43.0.10", "1", dns())
	foreign.SetLabels(nil)
	other := types.NamespacedName{Namespace: "kube-system", Name: "other"}
	gateway := allocated("10.43.0.10", "1", dns())
	gateway.Object["spec"] = map[string]any{"parentRef": map[string]any{"group": "gateway.networking.k8s.io", "resource": "gateways", "namespace": "kube-system", "name": "kube-dns"}}
	for _, c := range []struct {
		name    string
		objects []runtime.Object
		exists  bool
		deleted []string
	}{
		{"service and address", []runtime.Object{named(dns()), allocated("10.43.0.10", "1", dns())}, true, nil},
		{"nothing", nil, false, nil},
		{"address of another service", []runtime.Object{allocated("10.43.0.10", "1", other)}, false, nil},
		{"address of a user's", []runtime.Object{foreign}, false, nil},
		{"address of another kind", []runtime.Object{gateway}, false, nil},
		{"leaked", []runtime.Object{allocated("10.43.0.10", "1", dns())}, false, []string{"ipaddresses 10.43.0.10 1"}},
		{
			"both families leaked", []runtime.Object{allocated("10.43.0.10", "1", dns()), allocated("fd43::a", "2", dns()), allocated("10.43.0.11", "3", dns())},
			false, []string{"ipaddresses 10.43.0.10 1", "ipaddresses fd43::a 2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewSimpleDynamicClient(runtime.NewScheme(), c.objects...)
				l := newLeaked(client, slog.New(slog.DiscardHandler))
				free := func() {
					t.Helper()
					if exists, err := l.free(t.Context(), dns(), []string{"10.43.0.10", "fd43::a"}); err != nil || exists != c.exists {
						t.Errorf("free returns %t, %v, want %t", exists, err, c.exists)
					}
				}
				free()
				<-time.After(leakPatience - time.Millisecond)
				free()
				if got := deleted(client); got != nil {
					t.Errorf("before its time deleted: %q", got)
				}
				<-time.After(time.Millisecond)
				free()
				if got := deleted(client); !slices.Equal(got, c.deleted) {
					t.Errorf("deleted %q, want %q", got, c.deleted)
				}
			})
		})
	}
}

// TestFreeAnew has another object take the address meanwhile: it gets all of its time.
func TestFreeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleDynamicClient(runtime.NewScheme(), allocated("10.43.0.10", "1", dns()))
		l := newLeaked(client, slog.New(slog.DiscardHandler))
		free := func() {
			t.Helper()
			if _, err := l.free(t.Context(), dns(), []string{"10.43.0.10"}); err != nil {
				t.Error(err)
			}
		}
		free()
		<-time.After(leakPatience / 2)
		if err := client.Tracker().Update(addressResource(), allocated("10.43.0.10", "2", dns()), ""); err != nil {
			t.Fatal(err)
		}
		free()
		<-time.After(leakPatience / 2)
		free()
		if got := deleted(client); got != nil {
			t.Errorf("deleted %q after half of its time", got)
		}
		<-time.After(leakPatience / 2)
		free()
		if got, want := deleted(client), []string{"ipaddresses 10.43.0.10 2"}; !slices.Equal(got, want) {
			t.Errorf("deleted %q, want %q", got, want)
		}
	})
}

func TestFreeErrors(t *testing.T) {
	resource := schema.GroupResource{Resource: "ipaddresses"}
	for _, c := range []struct {
		name, verb, resource string
		answer               error
		want                 string
	}{
		{"services cannot be read", "get", "services", errors.New("EOF"), "look for service kube-system/kube-dns: EOF"},
		{"addresses cannot be read", "get", "ipaddresses", errors.New("EOF"), "look for address 10.43.0.10: EOF"},
		{"addresses cannot be deleted", "delete", "ipaddresses", errors.New("EOF"), "free address 10.43.0.10: EOF"},
		{"freed by another", "delete", "ipaddresses", apierrors.NewNotFound(resource, "10.43.0.10"), ""},
		{"taken by another", "delete", "ipaddresses", apierrors.NewConflict(resource, "10.43.0.10", nil), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := fake.NewSimpleDynamicClient(runtime.NewScheme(), allocated("10.43.0.10", "1", dns()))
			client.PrependReactor(c.verb, c.resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.answer })
			l := newLeaked(client, slog.New(slog.DiscardHandler))
			l.seen["1"] = time.Now().Add(-leakPatience)
			got := ""
			if _, err := l.free(t.Context(), dns(), []string{"10.43.0.10"}); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("error %q, want %q", got, c.want)
			}
		})
	}
}

// TestApplyLeaked applies a service whose address is taken by itself, left by a server that was killed.
func TestApplyLeaked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleDynamicClient(runtime.NewScheme(), allocated("10.43.0.10", "1", dns()))
		client.PrependReactor("patch", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
			if _, err := client.Tracker().Get(addressResource(), "", "10.43.0.10"); err == nil {
				return true, nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "kube-dns", nil)
			}
			return true, named(dns()), nil
		})
		begin := time.Now()
		if err := apply(t.Context(), client, service(t), slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < leakPatience || took > 3*leakPatience {
			t.Errorf("applied after %s, want soon after %s", took, leakPatience)
		}
	})
}

func TestWaitKubernetes(t *testing.T) {
	kubernetes := types.NamespacedName{Namespace: "default", Name: "kubernetes"}
	const never = time.Hour
	for _, c := range []struct {
		name     string
		objects  []runtime.Object
		made     time.Duration // when the API server makes the service
		from, to time.Duration // when the wait is to end
		deleted  []string
		log      string
	}{
		{"there", []runtime.Object{named(kubernetes)}, never, 0, 0, nil, ""},
		{"being made", []runtime.Object{allocated("10.43.0.1", "1", kubernetes)}, 100 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, nil, ""},
		{"leaked", []runtime.Object{allocated("10.43.0.1", "1", kubernetes)}, 10 * time.Second, 10 * time.Second, 11 * time.Second, []string{"ipaddresses 10.43.0.1 1"}, "is freed"},
		{"taken by another", []runtime.Object{allocated("10.43.0.1", "1", dns())}, never, serviceLimit, serviceLimit + time.Second, nil, "kubectl get ipaddress 10.43.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewSimpleDynamicClient(runtime.NewScheme(), c.objects...)
				timer := time.AfterFunc(c.made, func() {
					if err := client.Tracker().Add(named(kubernetes)); err != nil {
						t.Error(err)
					}
				})
				defer timer.Stop()
				var log bytes.Buffer
				begin := time.Now()
				if err := newLeaked(client, slog.New(slog.NewTextHandler(&log, nil))).waitKubernetes(t.Context(), "10.43.0.1"); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took < c.from || took > c.to {
					t.Errorf("returned after %s, want %s to %s", took, c.from, c.to)
				}
				if got := deleted(client); !slices.Equal(got, c.deleted) {
					t.Errorf("deleted %q, want %q", got, c.deleted)
				}
				if got := log.String(); (c.log == "") != (got == "") || !strings.Contains(got, c.log) {
					t.Errorf("log %q, want %q", got, c.log)
				}
			})
		})
	}
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		client := fake.NewSimpleDynamicClient(runtime.NewScheme())
		if err := newLeaked(client, slog.New(slog.DiscardHandler)).waitKubernetes(ctx, "10.43.0.1"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	})
}
