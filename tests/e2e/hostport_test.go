package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kedge/tests/host"
	"kedge/tests/image"
)

const portsPod = `
apiVersion: v1
kind: Pod
metadata: {name: ports}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: IMAGE
    command: [probe, serve]
    ports:
    - {containerPort: 8080, hostPort: 18080, protocol: TCP}
    - {containerPort: 8080, hostPort: 18080, protocol: UDP}
    - {containerPort: 8080, hostPort: 18081, hostIP: NODEIP, protocol: TCP}
    - {containerPort: 8080, hostPort: 18082, hostIP: 127.0.0.1, protocol: TCP}
`

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// testHostPort asks from the outside and from the node itself; what is bound to one address must not answer on another.
func testHostPort(t *testing.T, n *node) {
	ns := n.namespace(t, "hostport")
	n.apply(t, ns, strings.NewReplacer("IMAGE", image.Name, "NODEIP", n.IP().String()).Replace(portsPod))
	n.waitPodReady(t, ns, "ports")
	outside, inside := dialer(n.lab.Switch.Dial), dialer(n.Dial)
	node, client := n.IP().String(), n.lab.Switch.Address().String()
	checkPorts(t, []portCheck{
		{"from outside", outside, "tcp", node, "18080", "client", client},
		{"from outside, UDP", outside, "udp", node, "18080", "client", client},
		{"from the node", inside, "tcp", node, "18080", "hostname", "ports"},
		{"from the node, UDP", inside, "udp", node, "18080", "hostname", "ports"},
		{"from the node by loopback", inside, "tcp", "127.0.0.1", "18080", "hostname", "ports"},
		{"node address from outside", outside, "tcp", node, "18081", "client", client},
		{"node address by loopback", inside, "tcp", "127.0.0.1", "18081", "hostname", ""},
		{"loopback address from the node", inside, "tcp", "127.0.0.1", "18082", "hostname", "ports"},
		{"loopback address from outside", outside, "tcp", node, "18082", "hostname", ""},
	})
	t.Run("from a pod", func(t *testing.T) {
		n.serving(t, ns, "other")
		if got := n.exec(t, ns, "other", "probe", "dial", "http", node+":18080", "hostname"); got != "ports" {
			t.Errorf("answer %q", got)
		}
		if got := n.exec(t, ns, "ports", "probe", "dial", "http", node+":18080", "hostname"); got != "ports" {
			t.Errorf("the pod's own port answers it %q", got)
		}
	})
	n.kubectl(t, "delete", "pod", "-n", ns, "ports")
	checkPorts(t, []portCheck{
		{"closed with the pod", outside, "tcp", node, "18080", "client", ""},
		{"closed with the pod, by loopback", inside, "tcp", "127.0.0.1", "18080", "client", ""},
	})
}

// portCheck says who asks what where, and the answer; an empty answer means that nobody answers.
type portCheck struct {
	name                string
	dial                dialer
	network, host, port string
	question, answer    string
}

func checkPorts(t *testing.T, checks []portCheck) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			got, err := dialFrom(t.Context(), c.dial, c.network, net.JoinHostPort(c.host, c.port), c.question)
			switch {
			case c.answer == "" && err == nil:
				t.Errorf("answer %q, want none", got)
			case c.answer != "" && (err != nil || got != c.answer):
				t.Errorf("answer %q (%v), want %q", got, err, c.answer)
			}
		})
	}
}

// TestDualStack boots a node with both IP families.
func TestDualStack(t *testing.T) {
	n := newNode(t)
	n.start(t, "--node-ip", n.IP().String()+","+n.IP6().String(), "--cluster-cidr", "10.42.0.0/16,fd42::/56", "--service-cidr", "10.43.0.0/16,fd43::/112")
	n.waitReady(t)
	ns := n.namespace(t, "dual")
	n.apply(t, ns, strings.NewReplacer("IMAGE", image.Name, "NODEIP", n.IP6().String()).Replace(portsPod))
	pod := n.waitPodReady(t, ns, "ports")
	six := secondIP(t, pod)
	n.serving(t, ns, "other")

	outside, inside := dialer(n.lab.Switch.Dial), dialer(n.Dial)
	node, client := n.IP6().String(), n.lab.Switch.Address6().String()
	checkPorts(t, []portCheck{
		{"from outside", outside, "tcp", node, "18080", "client", client},
		{"from outside, UDP", outside, "udp", node, "18080", "client", client},
		{"from outside, IPv4", outside, "tcp", n.IP().String(), "18080", "client", n.lab.Switch.Address().String()},
		{"from outside, IPv4, UDP", outside, "udp", n.IP().String(), "18080", "client", n.lab.Switch.Address().String()},
		{"from the node", inside, "tcp", node, "18080", "hostname", "ports"},
		{"from the node, UDP", inside, "udp", node, "18080", "hostname", "ports"},
		{"node address from outside", outside, "tcp", node, "18081", "client", client},
		{"the other family", outside, "tcp", n.IP().String(), "18081", "client", ""},
		{"pod from the node", inside, "tcp", six, "8080", "hostname", "ports"},
	})
	t.Run("pod to pod", func(t *testing.T) {
		got := n.exec(t, ns, "other", "probe", "dial", "http", net.JoinHostPort(six, "8080"), "client")
		other := n.waitPodReady(t, ns, "other")
		if want := secondIP(t, other); got != want {
			t.Errorf("seen as %s, want %s", got, want)
		}
	})
	t.Run("pod to outside", func(t *testing.T) {
		l, err := n.lab.Switch.Listen("tcp", net.JoinHostPort(n.lab.Switch.Outside6().String(), "8080"))
		if err != nil {
			t.Fatal(err)
		}
		mirror(t, l, nil)
		if got := n.exec(t, ns, "other", "probe", "dial", "http", l.Addr().String(), "client"); got != node {
			t.Errorf("seen as %s, want %s", got, node)
		}
	})
	t.Run("DNS", func(t *testing.T) {
		n.apply(t, ns, "apiVersion: v1\nkind: Service\nmetadata: {name: both}\nspec: {clusterIP: None, ipFamilyPolicy: RequireDualStack, selector: {app: other}}\n")
		other := n.waitPodReady(t, ns, "other")
		host.Eventually(t, podLimit, "both addresses", func() error {
			got := n.exec(t, ns, "other", "probe", "resolve", "both")
			if want := other.Status.PodIP + "\n" + secondIP(t, other); got != want {
				return fmt.Errorf("got %q, want %q", got, want)
			}
			return nil
		})
	})
}

func secondIP(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	if len(p.Status.PodIPs) != 2 || net.ParseIP(p.Status.PodIPs[1].IP).To4() != nil {
		t.Fatalf("pod addresses %v, want one of each family", p.Status.PodIPs)
	}
	return p.Status.PodIPs[1].IP
}
