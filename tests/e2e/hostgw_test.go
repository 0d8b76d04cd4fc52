package e2e

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestHostGW: two machines with pods of both families and direct routes between them.
func TestHostGW(t *testing.T) {
	nodes := newNodes(t, 2)
	server, agent := nodes[0], nodes[1]
	server.start(t, "--overlay-backend", "host-gw", "--cluster-cidr", "10.42.0.0/16,fd42::/56", "--service-cidr", "10.43.0.0/16,fd43::/112")
	server.waitReady(t)
	agent.join(t, server, server.token(t))
	agent.waitReady(t)
	ns := server.namespace(t, "hostgw")
	ips := map[*node][]string{}
	for _, n := range nodes {
		server.servingOn(t, ns, n.Name)
		all := server.kubectl(t, "get", "pod", "-n", ns, n.Name, "-o", "jsonpath={.status.podIPs[*].ip}")
		if ips[n] = strings.Fields(all); len(ips[n]) != 2 {
			t.Fatalf("the pod of %s has the addresses %s", n.Name, all)
		}
	}
	for family := range 2 {
		for _, way := range [][2]*node{{server, agent}, {agent, server}} {
			from, to := way[0], way[1]
			target := net.JoinHostPort(ips[to][family], "8080")
			if got := server.exec(t, ns, from.Name, "probe", "dial", "http", target, "client"); got != ips[from][family] {
				t.Errorf("pod of %s to pod of %s: it sees %s, want %s", from.Name, to.Name, got, ips[from][family])
			}
			if got, err := dialFrom(t.Context(), from.Dial, "tcp", target, "client"); err != nil || got != from.IP().String() && got != from.IP6().String() {
				t.Errorf("%s to the pod of %s: it sees %s (%v)", from.Name, to.Name, got, err)
			}
		}
	}
	if got := server.exec(t, ns, server.Name, "cat", "/sys/class/net/eth0/mtu"); got != "1500" {
		t.Errorf("the pod's MTU is %s", got)
	}
	err := agent.InNet(func() error {
		if _, err := netlink.LinkByName(overlayLink); err == nil {
			t.Errorf("there is a link %s", overlayLink)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
