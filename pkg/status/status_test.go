package status_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/lifecycle"
	"kedge/pkg/status"
)

var update = flag.Bool("update", false, "write testdata anew") //nolint:gochecknoglobals // a flag of the test

func at(hour int) time.Time { return time.Date(2027, 3, 1, hour, 4, 5, 0, time.UTC) }

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		report status.Report
		want   []string
	}{
		{"nothing is known", status.Report{}, nil},
		{"all is well", status.Report{
			Node:         status.Node{Name: "a", Ready: true},
			Components:   []status.Component{{Name: "etcd", State: lifecycle.Ready}},
			Certificates: []status.Certificate{{Name: "admin", NotAfter: at(13)}},
		}, nil},
		{"components", status.Report{Components: []status.Component{
			{Name: "etcd", State: lifecycle.Failed, Error: "boom"},
			{Name: "apiserver", State: lifecycle.Starting},
			{Name: "dns", State: lifecycle.Ready},
		}}, []string{"component etcd is failed boom", "component apiserver is starting"}},
		{"node", status.Report{Node: status.Node{Name: "a", Reason: "no network"}}, []string{"node a is not ready: no network"}},
		{"certificates", status.Report{Certificates: []status.Certificate{
			{Name: "admin", NotAfter: at(11)},
			{Name: "etcd-server", NotAfter: at(11), Problem: "unreadable"},
			{Name: "kubelet", NotAfter: at(12)},
		}}, []string{"certificate admin expired 2027-03-01T11:04:05Z", "certificate etcd-server: unreadable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.report.Judge(at(12))
			if diff := cmp.Diff(c.want, c.report.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if c.report.Healthy != (len(c.want) == 0) {
				t.Errorf("healthy = %v with problems %q", c.report.Healthy, c.report.Problems)
			}
		})
	}
}

func TestWriteText(t *testing.T) {
	well := status.Report{
		Version: "v0.1.0", Kubernetes: "v1.36.3+kedge.0.1.0", Role: "server", PID: 42, Started: at(9), ReadySeconds: 3.25,
		Node:      status.Node{Name: "a", Ready: true, Addresses: []string{"192.0.2.1", "2001:db8::1"}, PodCIDRs: []string{"10.42.0.0/24"}},
		Datastore: "etcd, embedded, /var/lib/kedge/server/db/etcd", ProxyMode: "none",
		Components: []status.Component{
			{Name: "etcd", State: lifecycle.Ready, Version: "v3.6.16", Since: at(9)},
			{Name: "controller-manager", State: lifecycle.Ready, Version: "v1.36.3", Since: at(10)},
		},
		Certificates: []status.Certificate{
			{Name: "admin", NotAfter: at(15), RenewAt: at(14)},
			{Name: "kubelet", NotAfter: at(13).In(time.FixedZone("east", 7200)), RenewAt: at(12)},
		},
	}
	ill := status.Report{
		Version: "v0.1.0", Kubernetes: "v1.36.3", Role: "server", PID: 42, Started: at(9), ProxyMode: "none",
		Components: []status.Component{{Name: "etcd", State: lifecycle.Failed, Version: "v3.6.16", Since: at(9), Error: "boom"}},
	}
	for name, report := range map[string]status.Report{"well": well, "ill": ill} {
		t.Run(name, func(t *testing.T) {
			report.Judge(at(12))
			var b strings.Builder
			if err := report.WriteText(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/"+name+".txt", b.String())
		})
	}
}

func TestRecorder(t *testing.T) {
	r := status.NewRecorder(map[string]string{"etcd": "v3.6.16"})
	r.Observe("etcd", lifecycle.Starting, nil)
	r.Observe("apiserver", lifecycle.Starting, nil)
	r.Observe("etcd", lifecycle.Failed, errors.New("boom"))
	addresses := []string{"192.0.2.1"}
	r.SetNode(status.Node{Name: "a", Addresses: addresses})
	r.SetReady(1500 * time.Millisecond)
	var got status.Report
	r.Fill(&got)
	got.Node.Addresses[0] = "changed by the reader"
	for i := range got.Components {
		if got.Components[i].Since.IsZero() {
			t.Errorf("component %s has no time", got.Components[i].Name)
		}
		got.Components[i].Since = time.Time{}
	}
	want := []status.Component{
		{Name: "etcd", State: lifecycle.Failed, Version: "v3.6.16", Error: "boom"},
		{Name: "apiserver", State: lifecycle.Starting},
	}
	if diff := cmp.Diff(want, got.Components); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if got.ReadySeconds != 1.5 || got.Node.Name != "a" || addresses[0] != "192.0.2.1" {
		t.Errorf("ready after %v s, node %+v, recorded addresses %v", got.ReadySeconds, got.Node, addresses)
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got); -update accepts it:\n%s", file, diff)
	}
}
