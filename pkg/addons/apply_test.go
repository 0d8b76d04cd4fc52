package addons

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// cluster is a client that answers the patches with the errors in turn and then accepts.
func cluster(answers ...error) (client *fake.FakeDynamicClient, patches func() []string) {
	client = fake.NewSimpleDynamicClient(runtime.NewScheme())
	var seen []string
	client.PrependReactor("patch", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch, _ := a.(clienttesting.PatchActionImpl)
		seen = append(seen, string(patch.GetPatchType())+" "+a.GetResource().Resource+" "+a.GetNamespace()+"/"+patch.GetName())
		if len(answers) > 0 {
			err := answers[0]
			answers = answers[1:]
			if err != nil {
				return true, nil, err
			}
		}
		return true, &unstructured.Unstructured{}, nil
	})
	return client, func() []string { return seen }
}

func service(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	objects, err := Objects(Values{ClusterDNS: []netip.Addr{netip.MustParseAddr("10.43.0.10")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() == "Service" {
			return o
		}
	}
	t.Fatal("there is no service")
	return nil
}

func TestApply(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	const patch = "application/apply-patch+yaml services kube-system/kube-dns"
	services := schema.GroupResource{Resource: "services"}
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "kube-system")
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "kube-dns", nil)
	for _, c := range []struct {
		name    string
		answers []error
		patches int
		err     string
	}{
		{"at once", nil, 1, ""},
		{"the namespace is made meanwhile", []error{missing, missing}, 3, ""},
		{"not allowed yet, no connection", []error{apierrors.NewForbidden(services, "kube-dns", nil), errors.New("EOF")}, 3, ""},
		{"the range of its address is being loaded", []error{missing, invalid, invalid}, 4, ""},
		{"bad request", []error{apierrors.NewBadRequest("no")}, 1, "apply Service kube-dns: no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, patches := cluster(c.answers...)
			got := ""
			if err := apply(t.Context(), client, service(t), log); err != nil {
				got = err.Error()
			}
			if got != c.err {
				t.Errorf("error %q, want %q", got, c.err)
			}
			if all := patches(); len(all) != c.patches || all[0] != patch {
				t.Errorf("patches %q, want %d of %q", all, c.patches, patch)
			}
		})
	}
	t.Run("invalid", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, _ := cluster(slices.Repeat([]error{invalid}, 1000)...)
			begin, want := time.Now(), `apply Service kube-dns: Service "kube-dns" is invalid`
			err := apply(t.Context(), client, service(t), log)
			if took := time.Since(begin); err == nil || err.Error() != want || took < patience || took > 2*patience {
				t.Errorf("error %v after %s, want %s after %s", err, took, want, patience)
			}
		})
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, _ := cluster()
		client.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) { cancel(); return true, nil, missing })
		if err := apply(ctx, client, service(t), log); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	})
	t.Run("unknown kind", func(t *testing.T) {
		client, _ := cluster()
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p"}}}
		err := apply(t.Context(), client, o, log)
		if want := "apply Pod p: kind is not in the table of resources"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

func TestCompare(t *testing.T) {
	here := Shared{"cluster-cidr": "10.42.0.0/16", "cluster-domain": "cluster.local", "service-cidr": "10.43.0.0/16"}
	for _, c := range []struct {
		name   string
		stored map[string]string
		want   string
	}{
		{"equal", map[string]string{"cluster-cidr": "10.42.0.0/16", "cluster-domain": "cluster.local", "service-cidr": "10.43.0.0/16"}, ""},
		{"not stored by an older version, unknown to this one", map[string]string{"later": "x"}, ""},
		{"two differ", map[string]string{"cluster-domain": "a.example", "service-cidr": "10.43.0.0/16", "cluster-cidr": "10.1.0.0/16"},
			`this server was started with other values than the cluster was made with: --cluster-cidr is "10.42.0.0/16" here and "10.1.0.0/16" in the cluster; ` +
				`--cluster-domain is "cluster.local" here and "a.example" in the cluster; ` +
				`start it with the cluster's values (kubectl -n kube-system get configmap kedge-config)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := here.compare(c.stored); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAgree(t *testing.T) {
	client := fake.NewSimpleDynamicClient(runtime.NewScheme())
	first := Shared{"cluster-domain": "cluster.local"}
	for range 2 { // the first server stores, and finds its own values after a restart
		if err := first.agree(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("configmaps"), "kube-system", "kedge-config")
	if err != nil {
		t.Fatal(err)
	}
	object, _ := stored.(*unstructured.Unstructured)
	if diff := cmp.Diff(map[string]any{"cluster-domain": "cluster.local"}, object.Object["data"]); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if err := (Shared{"cluster-domain": "other"}).agree(t.Context(), client); err == nil {
		t.Error("other values were accepted")
	}
}
