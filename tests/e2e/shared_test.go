package e2e

import (
	"testing"

	"kedge/tests/host"
)

// TestNode boots one node and asks of it everything that leaves it as it was.
func TestNode(t *testing.T) {
	n := newNode(t, host.Options{Resolver: outsideResolver})
	n.start(t)
	n.waitReady(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *node)
	}{
		{"kubectl", testKubectl},
		{"exec", testExec},
		{"probes", testProbes},
		{"limits", testLimits},
		{"volumes", testVolumes},
		{"containers", testContainers},
		{"workloads", testWorkloads},
		{"security", testSecurity},
		{"network", testNetwork},
		{"dns", testDNS},
		{"hostport", testHostPort},
		{"services", testServices},
		{"images", testImages},
		{"certificates", testCertificates},
		{"csi", testCSI},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.test(t, n) }) && c.name == "kubectl" {
			t.Fatal("no pod runs: nothing else can")
		}
	}
}
