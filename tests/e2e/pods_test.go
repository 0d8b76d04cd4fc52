package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kedge/tests/host"
	"kedge/tests/image"
)

// podLimit bounds how long a pod may take to run, or to end.
const podLimit = time.Minute

// mustClient is client for a server that runs.
func (n *node) mustClient(t testing.TB) *api {
	t.Helper()
	a, err := n.client()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// namespace makes a namespace in which pods can be created, and removes it when the test ends.
func (n *node) namespace(t testing.TB, name string) string {
	t.Helper()
	a := n.mustClient(t)
	if err := a.do(t.Context(), http.MethodPost, "/api/v1/namespaces", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil); err != nil {
		t.Fatal(err)
	}
	host.Eventually(t, podLimit, "default service account", func() error {
		return a.get(t.Context(), "/api/v1/namespaces/"+name+"/serviceaccounts/default", nil)
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if n.alive() == nil {
			_ = a.do(ctx, http.MethodDelete, "/api/v1/namespaces/"+name, nil, nil)
		}
	})
	return name
}

// pod returns a pod as the API server has it now.
func (n *node) pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	a, err := n.client()
	if err != nil {
		return nil, err
	}
	var p corev1.Pod
	if err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/pods/"+name, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// waitPod waits until done says nil of the pod and returns it.
func (n *node) waitPod(t testing.TB, namespace, name, what string, done func(*corev1.Pod) error) *corev1.Pod {
	t.Helper()
	var last *corev1.Pod
	host.Eventually(t, podLimit, fmt.Sprintf("pod %s/%s %s", namespace, name, what), func() error {
		p, err := n.pod(t.Context(), namespace, name)
		if err != nil {
			return err
		}
		last = p
		if err := done(p); err != nil {
			return fmt.Errorf("%w: %s", err, describe(p))
		}
		return nil
	})
	return last
}

// describe says why a pod is not where it should be.
func describe(p *corev1.Pod) string {
	text := string(p.Status.Phase) + " " + p.Status.Reason + " " + p.Status.Message
	for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		text += fmt.Sprintf("; %s ready=%v restarts=%d", c.Name, c.Ready, c.RestartCount)
		if w := c.State.Waiting; w != nil {
			text += " waiting: " + w.Reason + " " + w.Message
		}
		if x := c.State.Terminated; x != nil {
			text += fmt.Sprintf(" terminated: %s %d %s", x.Reason, x.ExitCode, x.Message)
		}
	}
	return text
}

func (n *node) waitPodReady(t testing.TB, namespace, name string) *corev1.Pod {
	t.Helper()
	return n.waitPod(t, namespace, name, "ready", podReady)
}

func podReady(p *corev1.Pod) error {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("not ready")
}

func podEnded(p *corev1.Pod) error {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return nil
	}
	return errors.New("not ended")
}

// output waits until the pod has ended well and returns its log.
func (n *node) output(t testing.TB, namespace, name string) string {
	t.Helper()
	p := n.waitPod(t, namespace, name, "ended", podEnded)
	log := n.kubectl(t, "logs", "-n", namespace, name)
	if p.Status.Phase != corev1.PodSucceeded {
		t.Fatalf("pod %s failed: %s\n%s", name, describe(p), log)
	}
	return log
}

// runOnce runs a command in a pod of its own and returns what it printed.
func (n *node) runOnce(t testing.TB, namespace, name string, command ...string) string {
	t.Helper()
	n.apply(t, namespace, podYAML(name, "restartPolicy: Never", command...))
	return n.output(t, namespace, name)
}

// serving starts a pod that runs `probe serve` and waits until it answers.
func (n *node) serving(t testing.TB, namespace, name string) *corev1.Pod {
	t.Helper()
	n.apply(t, namespace, podYAML(name, "terminationGracePeriodSeconds: 1", "probe", "serve"))
	return n.waitPodReady(t, namespace, name)
}

// exec runs a command in a pod's first container and returns what it printed.
func (n *node) exec(t testing.TB, namespace, pod string, command ...string) string {
	t.Helper()
	return n.kubectl(t, append([]string{"exec", "-n", namespace, pod, "--"}, command...)...)
}

// podYAML is the manifest of a pod of one container; spec is a line of the pod's specification.
func podYAML(name, spec string, command ...string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec:
  %s
  containers:
  - {name: main, image: %q, imagePullPolicy: IfNotPresent, command: [%s]}
`, name, name, spec, image.Name, quoted(command))
}

func quoted(words []string) string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		out = append(out, fmt.Sprintf("%q", w))
	}
	return strings.Join(out, ", ")
}
