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

// evictable prefers the agent and leaves it a second after the cluster has noticed that it is gone.
const evictable = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - {weight: 100, preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [AGENT]}]}}
      containers: [{name: main, image: IMAGE, imagePullPolicy: IfNotPresent, command: [probe, serve]}]
`

// TestNodePowerCut: pods of a node that lost its power start elsewhere, and the node comes back as it was.
func TestNodePowerCut(t *testing.T) {
	nodes := newNodes(t, 2)
	server, agent := nodes[0], nodes[1]
	// A node reports every ten seconds; the usual 50 s of silence are only waiting.
	server.start(t, "--kube-controller-manager-arg", "node-monitor-grace-period=16s", "--kube-controller-manager-arg", "node-monitor-period=1s")
	server.waitReady(t)
	agent.join(t, server, server.token(t))
	agent.waitReady(t)
	ns := server.namespace(t, "powercut")
	server.apply(t, ns, strings.NewReplacer("IMAGE", image.Name, "AGENT", agent.Name).Replace(evictable))
	server.waitRunningOn(t, ns, agent.Name)
	if err := agent.Kill(); err != nil {
		t.Fatal(err)
	}
	ip := server.waitRunningOn(t, ns, server.Name)
	if got, err := dialFrom(t.Context(), server.Dial, "tcp", net.JoinHostPort(ip, "8080"), "hostname"); err != nil || !strings.HasPrefix(got, "web-") {
		t.Errorf("the new pod answers %q, %v", got, err)
	}

	if err := agent.Boot(); err != nil {
		t.Fatal(err)
	}
	agent.install(t)
	agent.join(t, server, "")
	agent.waitReady(t)
	there := server.servingOn(t, ns, agent.Name)
	host.Eventually(t, 20*time.Second, "pod of the node that came back", func() error {
		got, err := dialFrom(t.Context(), server.Dial, "tcp", net.JoinHostPort(there, "8080"), "hostname")
		if err == nil && got != agent.Name {
			err = fmt.Errorf("answer %q", got)
		}
		return err
	})
	if got := server.exec(t, ns, agent.Name, "probe", "dial", "http", ip+":8080", "client"); got != there {
		t.Errorf("the pod that moved sees %s, want %s", got, there)
	}
}

// waitRunningOn waits until a pod of the deployment is ready on a node and returns its address.
func (n *node) waitRunningOn(t testing.TB, ns, node string) (ip string) {
	t.Helper()
	host.Eventually(t, podLimit, "pod ready on "+node, func() error {
		var pods corev1.PodList
		if err := n.mustClient(t).get(t.Context(), "/api/v1/namespaces/"+ns+"/pods", &pods); err != nil {
			return err
		}
		var all []error
		for _, p := range pods.Items {
			if p.Spec.NodeName == node && p.DeletionTimestamp == nil && podReady(&p) == nil {
				ip = p.Status.PodIP
				return nil
			}
			all = append(all, fmt.Errorf("%s on %s: %s", p.Name, p.Spec.NodeName, describe(&p)))
		}
		return errors.Join(append(all, errors.New("none is"))...)
	})
	return ip
}
