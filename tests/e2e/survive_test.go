package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kedge/tests/host"
	"kedge/tests/image"
)

// container is what a stop or crash of kedge must not change.
type container struct {
	ID       string
	PID      string // as the host sees it
	Restarts int32
	PodIP    string
}

// containers describes the running containers of a namespace by pod/container, from the API and from containerd.
func (n *node) containers(t testing.TB, namespace string) map[string]container {
	t.Helper()
	var pods corev1.PodList
	if err := n.mustClient(t).get(t.Context(), "/api/v1/namespaces/"+namespace+"/pods", &pods); err != nil {
		t.Fatal(err)
	}
	r := n.kedge(t, "ctr", "-n", "k8s.io", "tasks", "ls")
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	pids := map[string]string{}
	for line := range strings.Lines(r.Stdout) {
		if f := strings.Fields(line); len(f) >= 3 && f[2] == "RUNNING" {
			pids[f[0]] = f[1]
		}
	}
	found := map[string]container{}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			_, id, _ := strings.Cut(c.ContainerID, "://")
			found[p.Name+"/"+c.Name] = container{ID: id, PID: pids[id], Restarts: c.RestartCount, PodIP: p.Status.PodIP}
		}
	}
	return found
}

const survivors = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [probe, serve]}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: v, hostPath: {path: DIR, type: DirectoryOrCreate}}]
  containers:
  - {name: main, image: IMAGE, command: [sh, -c, "i=0; while :; do i=$((i+1)); echo $i > /v/count; sleep 0.1; done"], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: ports, image: IMAGE, command: [probe, serve], ports: [{containerPort: 8080, hostPort: 18080}]}
`

// settle starts pods that are to survive and returns the namespace.
func (n *node) settle(t *testing.T) string {
	t.Helper()
	ns := n.namespace(t, "survivors")
	n.apply(t, ns, strings.NewReplacer("IMAGE", image.Name, "DIR", filepath.Join(n.Home(), "written")).Replace(survivors))
	n.kubectl(t, "rollout", "status", "-n", ns, "deployment/web", "--timeout=60s")
	n.waitPodReady(t, ns, "writer")
	return ns
}

// serves asks the pods without kedge's help.
func (n *node) serves(t testing.TB, all map[string]container) {
	t.Helper()
	for name, c := range all {
		pod, _, _ := strings.Cut(name, "/")
		got, err := dialFrom(t.Context(), n.Dial, "tcp", net.JoinHostPort(c.PodIP, "8080"), "hostname")
		if err != nil || got != pod {
			t.Errorf("%s answers %q, %v", name, got, err)
		}
	}
	if got, err := dialFrom(t.Context(), n.lab.Switch.Dial, "tcp", n.IP().String()+":18080", "hostname"); err != nil || got != "writer" {
		t.Errorf("the host port answers %q, %v", got, err)
	}
}

func TestRestart(t *testing.T) {
	n := boot(t)
	ns := n.settle(t)
	before := n.containers(t, ns)
	if len(before) != 4 {
		t.Fatalf("containers %v", before)
	}
	n.serves(t, before)
	for round := range 2 {
		code, took := n.terminate(t)
		if code != 0 || took > 10*time.Second {
			t.Errorf("stop %d: exit status %d after %s, want 0 within 10 s", round, code, took)
		}
		for name, c := range before {
			if r := n.Exec(t.Context(), "kill", "-0", c.PID); r.Code != 0 {
				t.Errorf("%s ended with the server", name)
			}
		}
		n.serves(t, before)
		n.start(t)
		n.waitReady(t)
		n.unchanged(t, ns, before)
	}
	t.Run("new pods", func(t *testing.T) {
		fresh := n.serving(t, ns, "fresh").Status.PodIP
		for name, c := range before {
			if c.PodIP == fresh {
				t.Errorf("the new pod has the address of %s", name)
			}
		}
		n.serves(t, before)
		n.kubectl(t, "exec", "-n", ns, "writer", "-c", "main", "--", "true")
	})
	n.adjusts(t, ns)
}

// unchanged expects the same containers, also after the kubelet had time to act.
func (n *node) unchanged(t testing.TB, ns string, before map[string]container) {
	t.Helper()
	for range 2 {
		host.Eventually(t, podLimit, "pods ready", func() error {
			var pods corev1.PodList
			if err := n.mustClient(t).get(t.Context(), "/api/v1/namespaces/"+ns+"/pods", &pods); err != nil {
				return err
			}
			for _, p := range pods.Items {
				if err := podReady(&p); err != nil {
					return fmt.Errorf("%s: %w: %s", p.Name, err, describe(&p))
				}
			}
			return nil
		})
		after := n.containers(t, ns)
		if !maps.Equal(before, after) {
			t.Fatalf("containers before\n%v\nand after\n%v", before, after)
		}
		n.serves(t, before)
		n.runOnce(t, "default", "marker", "true") // the kubelet has done a whole pod since
		n.kubectl(t, "delete", "pod", "marker")
	}
}

// adjusts deletes adopted pods: kedge must be able to end what it did not start.
func (n *node) adjusts(t *testing.T, ns string) {
	t.Helper()
	n.kubectl(t, "delete", "pod", "-n", ns, "writer", "--timeout=30s")
	n.kubectl(t, "scale", "-n", ns, "deployment/web", "--replicas=1")
	host.Eventually(t, podLimit, "one pod left", func() error {
		left := n.containers(t, ns)
		delete(left, "fresh/main")
		if len(left) != 1 {
			return fmt.Errorf("containers %v", slices.Collect(maps.Keys(left)))
		}
		return nil
	})
	if _, err := dialFrom(t.Context(), n.lab.Switch.Dial, "tcp", n.IP().String()+":18080", "hostname"); err == nil {
		t.Error("the host port of a deleted pod answers")
	}
}

// TestPowerCut cuts the power, twice, and expects everything to come back by itself.
func TestPowerCut(t *testing.T) {
	n := boot(t)
	ns := n.settle(t)
	for range 2 {
		written := filepath.Join(n.Home(), "written", "count")
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(written); err != nil {
			t.Fatal(err)
		}
		if err := n.Boot(); err != nil {
			t.Fatal(err)
		}
		n.install(t)
		n.start(t)
		n.waitReady(t)
		host.Eventually(t, podLimit, "pods are back", func() error {
			all := n.containers(t, ns)
			addresses := map[string]string{}
			for name, c := range all {
				if c.PID == "" {
					return fmt.Errorf("%s does not run", name)
				}
				pod, _, _ := strings.Cut(name, "/")
				if other, taken := addresses[c.PodIP]; taken && other != pod {
					return fmt.Errorf("%s and %s both have %s", pod, other, c.PodIP)
				}
				addresses[c.PodIP] = pod
				if got, err := dialFrom(t.Context(), n.Dial, "tcp", net.JoinHostPort(c.PodIP, "8080"), "hostname"); err != nil || got != pod {
					return fmt.Errorf("%s answers %q, %w", name, got, err)
				}
			}
			if len(all) != 4 {
				return fmt.Errorf("containers %v", all)
			}
			_, err := os.Stat(written)
			return err
		})
		n.serves(t, n.containers(t, ns))
	}
	left := n.Must(t, "sh", "-c", "ls /sys/class/net")
	if links := len(strings.Fields(left)); links > 2+5 { // lo, eth0, and one for each pod, with room for kedge's own
		t.Errorf("links after the power cuts: %q", left)
	}
}
