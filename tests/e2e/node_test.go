package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"kedge/tests/host"
	"kedge/tests/image"
)

const (
	kedge      = "/run/bin/kedge" // where every host has the executable
	dataDir    = "/var/lib/kedge"
	kubeconfig = "/etc/kedge/kubeconfig.yaml"

	startLimit = 2 * time.Minute // generous: the machine may be busy
)

// node is a host with kedge on it.
type node struct {
	*host.Host
	lab    *host.Lab
	bin    string
	server *host.Process
	via    *node // whose API server and kubeconfig are used; nil: its own
	image  bool  // it was given the test image
	api    *api
}

// newNode makes a host with the executable and the test image in place, and starts nothing.
func newNode(t *testing.T, options ...host.Options) *node {
	t.Helper()
	return newNodes(t, 1, options...)[0]
}

// newNodes is newNode for several hosts of one lab.
func newNodes(t *testing.T, count int, options ...host.Options) []*node {
	t.Helper()
	bin := executable(t)
	lab := host.NewLab(t, count, options...)
	var nodes []*node
	for _, h := range lab.Hosts {
		n := &node{Host: h, lab: lab, bin: bin}
		n.install(t)
		n.putImage(t)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("end of the log of kedge on %s:\n%s", n.Name, lastLines(n.log(t), 40))
			}
		})
		nodes = append(nodes, n)
	}
	return nodes
}

// boot is newNode and a started, ready server.
func boot(t *testing.T, args ...string) *node {
	t.Helper()
	n := newNode(t)
	n.start(t, args...)
	n.waitReady(t)
	return n
}

// install puts kedge, and kubectl and ctr as links to it, into the host's /run. It is needed again after each boot.
func (n *node) install(t testing.TB) {
	t.Helper()
	n.Must(t, "sh", "-ec", "mkdir -p /run/bin; : > "+kedge+"; mount --bind "+n.bin+" "+kedge+"; ln -s kedge /run/bin/kubectl; ln -s kedge /run/bin/ctr")
}

// putImage gives the node the test image to import.
func (n *node) putImage(t testing.TB) {
	t.Helper()
	dir := n.Path(dataDir + "/images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	n.image = true
	archive := os.Getenv(imageVariable)
	if err := os.Link(archive, filepath.Join(dir, "test.tar")); err == nil {
		return
	}
	content, err := os.ReadFile(archive)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "test.tar"), content, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) logFile() string { return filepath.Join(n.Home(), "kedge.log") }

// log returns everything that all starts of the server have logged.
func (n *node) log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(n.logFile())
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// start starts the server and does not wait for it.
func (n *node) start(t testing.TB, args ...string) {
	t.Helper()
	n.startWith(t, nil, args...)
}

func (n *node) startWith(t testing.TB, env []string, args ...string) {
	t.Helper()
	n.startAs(t, "server", env, args...)
}

// startAs starts kedge in a role.
func (n *node) startAs(t testing.TB, role string, env []string, args ...string) {
	t.Helper()
	out, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	n.api = nil
	n.server, err = n.Start(host.Spec{Args: append([]string{kedge, role}, args...), Env: env, Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
}

// alive returns an error when the server has ended by itself.
func (n *node) alive() error {
	select {
	case <-n.server.Done():
		return fmt.Errorf("the server has ended")
	default:
		return nil
	}
}

// waitReady waits until the node is Ready, pods can be created, and the test image is there: a pod that comes
// earlier would try to pull it, and try again much later.
func (n *node) waitReady(t testing.TB) {
	t.Helper()
	host.Eventually(t, startLimit, "node ready", func() error {
		if err := n.alive(); err != nil {
			t.Fatal(err) // the log follows
		}
		return n.isReady(t.Context())
	})
	if n.image {
		n.waitImage(t, image.Name)
	}
}

// isReady asks the API server.
func (n *node) isReady(ctx context.Context) error {
	a, err := n.client()
	if err != nil {
		return err
	}
	return a.usable(ctx, n.Name)
}

// terminate sends SIGTERM and returns the exit status and how long the stop took.
func (n *node) terminate(t testing.TB) (int, time.Duration) {
	t.Helper()
	begin := time.Now()
	if err := n.server.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code, err := n.server.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return code, time.Since(begin)
}

// crash is kill -9.
func (n *node) crash(t testing.TB) {
	t.Helper()
	if err := n.server.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-n.server.Done()
}

// kubectl runs `kedge kubectl` and returns what it printed; it fails the test when that fails.
func (n *node) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	r := n.tryKubectl(t, "", args...)
	if err := r.Check(); err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(r.Stdout)
}

func (n *node) tryKubectl(t testing.TB, stdin string, args ...string) host.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	return n.Run(ctx, host.Spec{Args: append([]string{kedge, "kubectl"}, args...), Stdin: strings.NewReader(stdin)})
}

// apply gives manifests to kubectl.
func (n *node) apply(t testing.TB, namespace, manifests string) {
	t.Helper()
	if err := n.tryKubectl(t, manifests, "apply", "-n", namespace, "-f", "-").Check(); err != nil {
		t.Fatalf("apply: %v\n%s", err, manifests)
	}
}

// kedge runs the executable, bounded, without expecting anything.
func (n *node) kedge(t testing.TB, args ...string) host.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return n.Exec(ctx, append([]string{kedge}, args...)...)
}

// waitLog waits until what kedge logs matches a pattern.
func (n *node) waitLog(t testing.TB, within time.Duration, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	host.Eventually(t, within, "log has "+pattern, func() error {
		if found = re.FindString(n.log(t)); found == "" {
			return fmt.Errorf("the log ends with\n%s", lastLines(n.log(t), 20))
		}
		return nil
	})
	return found
}

func lastLines(text string, most int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	for i, l := range lines {
		if len(l) > 400 {
			lines[i] = l[:400] + "…"
		}
	}
	return strings.Join(lines, "\n")
}
