package e2e

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kedge/tests/host"
	"kedge/tests/image"
)

const probedPods = `
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: kedge.local/test:1
    command: [probe, serve]
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 5}
---
apiVersion: v1
kind: Pod
metadata: {name: deadly}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: kedge.local/test:1
    command: [sh, -c, "touch /tmp/well; exec probe sleep"]
    livenessProbe: {exec: {command: [rm, /tmp/well]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 5}
`

func testProbes(t *testing.T, n *node) {
	ns := n.namespace(t, "probes")
	n.apply(t, ns, probedPods)
	p := n.waitPodReady(t, ns, "probed")
	switchHealth := func(path string) {
		t.Helper()
		if body := ask(t, n, "http://"+net.JoinHostPort(p.Status.PodIP, "8080")+path); body != strings.TrimPrefix(path, "/")+"\n" {
			t.Fatalf("%s answered %q", path, body)
		}
	}
	switchHealth("/sick")
	n.waitPod(t, ns, "probed", "not ready", func(p *corev1.Pod) error {
		if podReady(p) == nil {
			return errors.New("still ready")
		}
		return nil
	})
	switchHealth("/well")
	if p := n.waitPodReady(t, ns, "probed"); p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("readiness restarted the container")
	}
	n.waitPod(t, ns, "deadly", "restarted by its liveness probe", func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].RestartCount == 0 {
			return errors.New("not restarted")
		}
		return nil
	})
}

// limitsScript prints the limits of the pod's own cgroup, on cgroup v1 or v2, in the same words.
const limitsScript = `cd /sys/fs/cgroup
if [ -e cgroup.controllers ]; then set -- $(cat cpu.max); echo memory $(cat memory.max) cpu $1/$2; else
echo memory $(cat memory/memory.limit_in_bytes) cpu $(cat cpu/cpu.cfs_quota_us)/$(cat cpu/cpu.cfs_period_us); fi`

func testLimits(t *testing.T, n *node) {
	ns := n.namespace(t, "limits")
	limited := func(name string, command ...string) string {
		resources := `resources: {limits: {memory: 64Mi, cpu: 250m}, requests: {memory: 16Mi, cpu: 10m}}, imagePullPolicy`
		return strings.Replace(podYAML(name, "restartPolicy: Never", command...), "imagePullPolicy", resources, 1)
	}
	n.apply(t, ns, limited("limited", "sh", "-c", limitsScript)+"---"+limited("hungry", "probe", "eat", "200"))
	if got, want := n.output(t, ns, "limited"), "memory 67108864 cpu 25000/100000"; got != want {
		t.Errorf("limits %q, want %q", got, want)
	}
	p := n.waitPod(t, ns, "hungry", "ended", podEnded)
	if x := p.Status.ContainerStatuses[0].State.Terminated; x == nil || x.Reason != "OOMKilled" || x.ExitCode != 137 {
		t.Errorf("a container over its memory limit: %s", describe(p))
	}
}

const containersPod = `
apiVersion: v1
kind: Pod
metadata: {name: order}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  volumes: [{name: v, emptyDir: {}}]
  initContainers:
  - {name: one, image: IMAGE, command: [sh, -c, "echo one >> /v/log"], volumeMounts: [{name: v, mountPath: /v}]}
  - name: side
    image: IMAGE
    restartPolicy: Always
    command: [sh, -c, "trap 'echo side ends; exit 0' TERM; echo side >> /v/log; while :; do sleep 0.1; done"]
    startupProbe: {exec: {command: [grep, side, /v/log]}, periodSeconds: 1}
    volumeMounts: [{name: v, mountPath: /v}]
  - {name: two, image: IMAGE, command: [sh, -c, "echo two >> /v/log"], volumeMounts: [{name: v, mountPath: /v}]}
  containers:
  - {name: main, image: IMAGE, command: [sh, -c, "cat /v/log; echo main"], volumeMounts: [{name: v, mountPath: /v}]}
`

const endingPod = `
apiVersion: v1
kind: Pod
metadata: {name: ending}
spec:
  terminationGracePeriodSeconds: 20
  volumes: [{name: v, hostPath: {path: DIR, type: DirectoryOrCreate}}]
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, "trap 'echo asked >> /v/log; exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle: {postStart: {exec: {command: [sh, -c, "echo post >> /v/log"]}}, preStop: {exec: {command: [sh, -c, "echo pre >> /v/log"]}}}
    volumeMounts: [{name: v, mountPath: /v}]
`

// testContainers sees init containers, a sidecar and the main container run in order, and a pod end as it should.
func testContainers(t *testing.T, n *node) {
	ns := n.namespace(t, "containers")
	dir := n.Home() + "/ending"
	n.apply(t, ns, strings.NewReplacer("IMAGE", image.Name, "DIR", dir).Replace(containersPod+"---"+endingPod))
	if got, want := n.output(t, ns, "order"), "one\nside\ntwo\nmain"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	if got := n.kubectl(t, "logs", "-n", ns, "order", "-c", "side"); got != "side ends" {
		t.Errorf("the sidecar said %q", got)
	}
	n.waitPodReady(t, ns, "ending")
	begin := time.Now()
	n.kubectl(t, "delete", "pod", "-n", ns, "ending")
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("the end of the pod took %s", took)
	}
	if got := n.Must(t, "cat", dir+"/log"); got != "post\npre\nasked\n" {
		t.Errorf("the pod ended as %q", got)
	}
}

const workloads = `
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  completions: 3
  parallelism: 2
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: IMAGE, command: [echo, done]}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemon}
spec:
  selector: {matchLabels: {app: daemon}}
  template: {metadata: {labels: {app: daemon}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [probe, sleep]}]}}
---
apiVersion: v1
kind: Service
metadata: {name: stateful}
spec: {clusterIP: None, selector: {app: stateful}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: stateful}
spec:
  serviceName: stateful
  replicas: 2
  selector: {matchLabels: {app: stateful}}
  template: {metadata: {labels: {app: stateful}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [probe, serve]}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: deployment}
spec:
  replicas: 2
  selector: {matchLabels: {app: deployment}}
  template: {metadata: {labels: {app: deployment}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [probe, sleep]}]}}
`

func testWorkloads(t *testing.T, n *node) {
	ns := n.namespace(t, "workloads")
	n.apply(t, ns, strings.ReplaceAll(workloads, "IMAGE", image.Name))
	for _, args := range [][]string{
		{"rollout", "status", "daemonset/daemon", "--timeout=60s"},
		{"rollout", "status", "statefulset/stateful", "--timeout=60s"},
		{"rollout", "status", "deployment/deployment", "--timeout=60s"},
		{"wait", "job/job", "--for=condition=Complete", "--timeout=60s"},
	} {
		n.kubectl(t, append(args, "-n", ns)...)
	}
	if got := n.kubectl(t, "get", "job", "job", "-n", ns, "-o", "jsonpath={.status.succeeded}"); got != "3" {
		t.Errorf("the job succeeded %s times, want 3", got)
	}
	for _, pod := range []string{"stateful-0", "stateful-1"} {
		if got := n.exec(t, ns, pod, "hostname"); got != pod {
			t.Errorf("%s is called %s", pod, got)
		}
	}
	first := n.waitPodReady(t, ns, "stateful-1").UID
	n.kubectl(t, "delete", "pod", "-n", ns, "stateful-1")
	host.Eventually(t, podLimit, "stateful-1 replaced", func() error {
		p, err := n.pod(t.Context(), ns, "stateful-1")
		if err != nil {
			return err
		}
		if p.UID == first {
			return fmt.Errorf("still the first one")
		}
		return podReady(p)
	})
	n.kubectl(t, "set", "env", "-n", ns, "deployment/deployment", "A=b")
	n.kubectl(t, "rollout", "status", "-n", ns, "deployment/deployment", "--timeout=60s")
}

const securedPods = `
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, "id -u; id -g; touch /x 2>/dev/null || echo read-only; touch /v/x && stat -c %g /v/x; grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status"]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: v, mountPath: /v}]
---
apiVersion: v1
kind: Pod
metadata: {name: mighty}
spec:
  restartPolicy: Never
  hostNetwork: true
  hostPID: true
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, "hostname; ls /sys/class/net | grep -x eth0; grep -qx kedge /proc/[0-9]*/comm && echo sees kedge; mount -t tmpfs t /tmp && echo mounts"]
    securityContext: {privileged: true}
`

func testSecurity(t *testing.T, n *node) {
	ns := n.namespace(t, "security")
	n.apply(t, ns, strings.ReplaceAll(securedPods, "IMAGE", image.Name))
	if got, want := n.output(t, ns, "plain"), "1000\n2000\nread-only\n3000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2"; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got, want := n.output(t, ns, "mighty"), "host1\neth0\nsees kedge\nmounts"; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
