package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kedge/tests/host"
)

// testKubectl sees that a pod from the image archive runs and its log can be read.
func testKubectl(t *testing.T, n *node) {
	ns := n.namespace(t, "kubectl")
	if got := n.runOnce(t, ns, "hello", "echo", "hello"); got != "hello" {
		t.Errorf("log %q", got)
	}
	got := n.kubectl(t, "get", "pods", "-n", ns, "-o", `jsonpath={.items[*].status.containerStatuses[*].state.terminated.reason}`)
	if got != "Completed" {
		t.Errorf("reason %q", got)
	}
	events := n.kubectl(t, "get", "events", "-n", ns, "-o", "jsonpath={.items[*].reason}")
	if !strings.Contains(events, "Started") || strings.Contains(events, "Pulling") {
		t.Errorf("events %q: the image was to come from the archive", events)
	}
	never := podYAML("never", "restartPolicy: Never", "true")
	n.apply(t, ns, strings.NewReplacer("kedge.local/test:1", "kedge.local/missing:1", "IfNotPresent", "Never").Replace(never))
	n.waitPod(t, ns, "never", "is refused", func(p *corev1.Pod) error {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Waiting != nil && c.State.Waiting.Reason == "ErrImageNeverPull" {
				return nil
			}
		}
		return errors.New("not ErrImageNeverPull")
	})
}

func testExec(t *testing.T, n *node) {
	ns := n.namespace(t, "exec")
	n.serving(t, ns, "web")
	for _, c := range []struct {
		name string
		test func(*testing.T, *node, string)
	}{
		{"logs", logs}, {"exec", exec}, {"attach", attach}, {"port-forward", portForward}, {"cp", cp},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, n, ns) })
	}
}

func logs(t *testing.T, n *node, ns string) {
	if got := n.kubectl(t, "logs", "-n", ns, "web"); got != "serving on 8080" {
		t.Errorf("log %q", got)
	}
	n.apply(t, ns, podYAML("counter", "terminationGracePeriodSeconds: 0", "sh", "-c", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done"))
	n.waitPodReady(t, ns, "counter")
	var out lines
	follow, err := n.Start(host.Spec{Args: []string{kedge, "kubectl", "logs", "-f", "-n", ns, "counter"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	host.Eventually(t, 20*time.Second, "followed log", func() error {
		if got := out.String(); !strings.HasPrefix(got, "line 0\nline 1\n") || !strings.Contains(got, "line 10\n") {
			return fmt.Errorf("log so far %q", got)
		}
		return nil
	})
	if err := follow.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-follow.Done()
	if got := n.kubectl(t, "logs", "-n", ns, "counter", "--tail=1"); strings.Count(got, "line") != 1 {
		t.Errorf("tail %q", got)
	}
}

func exec(t *testing.T, n *node, ns string) {
	if got := n.exec(t, ns, "web", "hostname"); got != "web" {
		t.Errorf("hostname %q", got)
	}
	if r := n.tryKubectl(t, "", "exec", "-n", ns, "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"); r.Code != 7 || r.Stdout != "out\n" || !strings.HasPrefix(r.Stderr, "err\n") {
		t.Errorf("exec: %+v", r)
	}
	in := strings.Repeat("0123456789abcdef", 64<<10/16)
	if r := n.tryKubectl(t, in, "exec", "-i", "-n", ns, "web", "--", "cat"); r.Check() != nil || r.Stdout != in {
		t.Errorf("exec -i: %d of %d bytes came back, %v", len(r.Stdout), len(in), r.Check())
	}
	if r := n.tryKubectl(t, "", "exec", "-n", ns, "web", "--", "no-such-program"); r.Code == 0 || !strings.Contains(r.Stderr, "no-such-program") {
		t.Errorf("exec of a missing program: %+v", r)
	}
}

func attach(t *testing.T, n *node, ns string) {
	n.apply(t, ns, strings.Replace(podYAML("reader", "restartPolicy: Never", "sh", "-c", "read x; echo got $x"), "{name: main,", "{name: main, stdin: true, stdinOnce: true,", 1))
	n.waitPod(t, ns, "reader", "runs", func(p *corev1.Pod) error {
		if p.Status.Phase != corev1.PodRunning {
			return errors.New("not running")
		}
		return nil
	})
	if r := n.tryKubectl(t, "hello\n", "attach", "-i", "-n", ns, "reader"); r.Check() != nil {
		t.Errorf("attach: %v", r.Check())
	}
	if got := n.output(t, ns, "reader"); got != "got hello" {
		t.Errorf("log %q", got)
	}
}

func portForward(t *testing.T, n *node, ns string) {
	var out lines
	forward, err := n.Start(host.Spec{Args: []string{kedge, "kubectl", "port-forward", "-n", ns, "pod/web", "18080:8080"}, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = forward.Signal(syscall.SIGTERM)
		<-forward.Done()
	}()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.Dial(ctx, network, "127.0.0.1:18080")
	}}}
	host.Eventually(t, 20*time.Second, "forwarded port", func() error {
		resp, err := client.Post("http://pod/echo", "text/plain", strings.NewReader("over the port"))
		if err != nil {
			return fmt.Errorf("%w: %s", err, out.String())
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != "over the port" {
			return fmt.Errorf("answer %q %w", body, err)
		}
		return nil
	})
}

func cp(t *testing.T, n *node, ns string) {
	from, back := filepath.Join(n.Home(), "from"), filepath.Join(n.Home(), "back")
	content := bytes.Repeat([]byte("kedge\x00\n"), 10000)
	if err := os.WriteFile(from, content, 0o600); err != nil {
		t.Fatal(err)
	}
	n.kubectl(t, "cp", from, ns+"/web:/tmp/there")
	n.kubectl(t, "cp", ns+"/web:/tmp/there", back)
	got, err := os.ReadFile(back)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes went, %d came back, %v", len(content), len(got), err)
	}
}
