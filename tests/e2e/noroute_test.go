package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kedge/tests/host"
)

// TestNoRoute boots a host that knows no way out and no name server.
func TestNoRoute(t *testing.T) {
	n := newNode(t, host.Options{NoRoute: true})
	n.start(t)
	n.waitReady(t)
	if got := n.kubectl(t, "get", "node", n.Name, "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`); got != n.IP().String() {
		t.Errorf("node address %q, want %s", got, n.IP())
	}
	ns := n.namespace(t, "noroute")
	n.serving(t, ns, "client")
	other := n.serving(t, ns, "other").Status.PodIP
	if got := n.exec(t, ns, "client", "probe", "dial", "http", other+":8080", "hostname"); got != "other" {
		t.Errorf("pod to pod: %q", got)
	}
	if got := n.exec(t, ns, "client", "probe", "resolve", "kubernetes.default"); got != "10.43.0.1" {
		t.Errorf("cluster name in a pod: %q", got)
	}
	if found, err := n.resolver("udp").LookupHost(t.Context(), "kubernetes.default.svc.cluster.local."); err != nil || strings.Join(found, " ") != "10.43.0.1" {
		t.Errorf("cluster name on the host: %q, %v", found, err)
	}
	if got := n.exec(t, ns, "client", "probe", "api", "/api"); !strings.Contains(got, "APIVersions") {
		t.Errorf("API server from a pod: %q", got)
	}
	begin := time.Now()
	if _, err := n.resolver("udp").LookupHost(t.Context(), "www.example.test."); err == nil || time.Since(begin) > 8*time.Second {
		t.Errorf("a name outside: %v after %s, want an answer that there is none", err, time.Since(begin))
	}
}

// TestReadOnlySysctls boots a host whose network sysctls are set well and cannot be changed.
func TestReadOnlySysctls(t *testing.T) {
	n := newNode(t, host.Options{ReadOnlyNet: true})
	if got := n.Must(t, "sh", "-c", "echo 0 2>/dev/null > /proc/sys/net/ipv4/ip_forward || echo read-only"); got != "read-only\n" {
		t.Fatalf("the sysctls can be written: %q", got)
	}
	n.start(t)
	n.waitReady(t)
	ns := n.namespace(t, "sysctls")
	n.serving(t, ns, "a")
	b := n.serving(t, ns, "b").Status.PodIP
	if got := n.exec(t, ns, "a", "probe", "dial", "http", b+":8080", "hostname"); got != "b" {
		t.Errorf("pod to pod: %q", got)
	}
}

// TestOddNames boots with another data directory, ports, networks and names, all from files and environment.
func TestOddNames(t *testing.T) {
	n := newNode(t)
	const dir = "/var/lib/containerd/odd" // any disk of the host will do
	n.Must(t, "sh", "-ec", "mkdir -p /etc/kedge/config.yaml.d "+dir+"/images; cp "+dataDir+"/images/test.tar "+dir+"/images/")
	for file, text := range map[string]string{
		"config.yaml":                "data-dir: /nowhere\nservice-cidr: 10.96.0.0/16\ncluster-domain: odd.example\nnode-label: [a=1]\n",
		"config.yaml.d/10-more.yaml": "data-dir: " + dir + "\nnode-label+: [b=2]\nhttps-listen-port: 7443\n",
	} {
		if err := os.WriteFile(n.Path("/etc/kedge/"+file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.startWith(t, []string{"KEDGE_CLUSTER_CIDR=10.77.0.0/16"}, "--node-name", "odd")
	n.Name = "odd"
	n.waitReady(t)
	ns := n.namespace(t, "odd")
	script := "hostname -i; cat /etc/resolv.conf | grep -E 'nameserver|search'; echo $KUBERNETES_SERVICE_HOST"
	got := n.runOnce(t, ns, "pod", "sh", "-c", script)
	for _, want := range []string{"10.77.0.", "nameserver 10.96.0.10", "odd.svc.odd.example", "10.96.0.1"} {
		if !strings.Contains(got, want) {
			t.Errorf("the pod does not see %q:\n%s", want, got)
		}
	}
	if got := n.kubectl(t, "get", "node", "odd", "-o", "jsonpath={.metadata.labels.a}{.metadata.labels.b}"); got != "12" {
		t.Errorf("labels %q", got)
	}
	// Device plugins register at one path that is part of their interface.
	if left := n.Must(t, "sh", "-c", fmt.Sprintf("ls -A %s | grep -vx images; ls -A /var/lib/kubelet | grep -vx device-plugins; true", dataDir)); left != "" {
		t.Errorf("written elsewhere than in the data directory: %q", left)
	}
	if err := n.kedge(t, "status", "--data-dir", dir).Check(); err != nil {
		t.Error(err)
	}
}
