package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kedge/tests/host"
)

// leakLimit is shorter than the 60 s after which the API server frees an address that no service has.
const leakLimit = 40 * time.Second

const leakedAddress = `
apiVersion: networking.k8s.io/v1
kind: IPAddress
metadata:
  name: ADDRESS
  labels: {ipaddress.kubernetes.io/ip-family: IPv4, ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io}
spec: {parentRef: {resource: services, namespace: NAMESPACE, name: NAME}}
`

// TestLeakedAddress leaves behind what a kill between an API server's two writes leaves: the addresses of the kubernetes
// service and of the DNS service without the services. The next start has to bring both services back.
func TestLeakedAddress(t *testing.T) {
	n := boot(t)
	begin := time.Now()
	for _, s := range [][3]string{{"kube-system", "kube-dns", "10.43.0.10"}, {"default", "kubernetes", "10.43.0.1"}} {
		n.leak(t, s[0], s[1], s[2])
	}
	n.crash(t)
	n.start(t)
	n.waitReady(t)
	host.Eventually(t, leakLimit-time.Since(begin), "both services", func() error {
		for address, of := range map[string][]string{"10.43.0.1": {"default", "kubernetes"}, "10.43.0.10": {"kube-system", "kube-dns"}} {
			r := n.tryKubectl(t, "", "get", "service", "-n", of[0], of[1], "-o", "jsonpath={.spec.clusterIP}")
			if r.Stdout != address {
				return fmt.Errorf("service %s has address %q, want %s: %s", of[1], r.Stdout, address, r.Stderr)
			}
		}
		return nil
	})
	for _, name := range []string{"default/kubernetes", "kube-system/kube-dns"} {
		n.waitLog(t, podLimit, "address of a service that does not exist is freed.* service="+name)
	}
	t.Logf("both services were back %s after the first was gone", time.Since(begin).Round(time.Millisecond))
	ns := n.namespace(t, "after")
	if got := n.runOnce(t, ns, "ask", "probe", "api", "/api"); !strings.Contains(got, "serverAddressByClientCIDRs") {
		t.Errorf("a pod that asks for /api at the kubernetes service gets %s", got)
	}
}

// leak replaces a service by the address that it had.
func (n *node) leak(t *testing.T, namespace, name, address string) {
	t.Helper()
	manifest := strings.NewReplacer("ADDRESS", address, "NAMESPACE", namespace, "NAME", name).Replace(leakedAddress)
	host.Eventually(t, podLimit, "address without service "+name, func() error {
		if err := n.tryKubectl(t, "", "delete", "service", "-n", namespace, name, "--ignore-not-found").Check(); err != nil {
			return err
		}
		// The API server may have made the kubernetes service anew.
		return n.tryKubectl(t, manifest, "create", "-f", "-").Check()
	})
	if r := n.tryKubectl(t, "", "get", "service", "-n", namespace, name); r.Code == 0 {
		t.Fatalf("service %s exists", name)
	}
}
