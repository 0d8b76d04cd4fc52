package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"kedge/tests/host"
	"kedge/tests/image"
)

// overlayLink is the overlay's link on hosts with IPv4 addresses.
const overlayLink = "kedge-vxlan"

// TestOverlay: pods of three machines reach each other, whatever happens to kedge, to cables and to addresses.
func TestOverlay(t *testing.T) {
	nodes := bootCluster(t, 3)
	server := nodes[0]
	ns := server.namespace(t, "overlay")
	o := &crossing{nodes: nodes, ns: ns}
	for _, n := range nodes {
		o.pods = append(o.pods, server.servingOn(t, ns, n.Name))
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *crossing)
	}{
		{"pods", testCrossing},
		{"names and services", testCrossingNames},
		{"restart of kedge", testCrossingRestart},
		{"partition", testCrossingPartition},
		{"link deleted by hand", testCrossingRepair},
		{"another node address", testCrossingAddress},
		{"reset", testCrossingReset},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.test(t, o) }) {
			break // the next begins with what this one left
		}
	}
}

// crossing is a cluster with a pod on each node, of the node's name, that runs `probe serve`.
type crossing struct {
	nodes []*node
	ns    string
	pods  []string // addresses
}

// servingOn starts a pod that runs `probe serve` on the node of its name and returns its address.
func (n *node) servingOn(t testing.TB, ns, name string) string {
	t.Helper()
	n.apply(t, ns, podYAML(name, "nodeName: "+name+"\n  terminationGracePeriodSeconds: 1", "probe", "serve"))
	return n.waitPodReady(t, ns, name).Status.PodIP
}

// from runs probe in the pod of node i.
func (o *crossing) from(t testing.TB, i int, args ...string) string {
	t.Helper()
	return o.nodes[0].exec(t, o.ns, o.nodes[i].Name, append([]string{"probe"}, args...)...)
}

// reaches waits until node i reaches the pod of node j.
func (o *crossing) reaches(t testing.TB, i, j int) {
	t.Helper()
	what := fmt.Sprintf("%s reaches the pod of %s", o.nodes[i].Name, o.nodes[j].Name)
	host.Eventually(t, 20*time.Second, what, func() error {
		got, err := dialFrom(t.Context(), o.nodes[i].Dial, "tcp", net.JoinHostPort(o.pods[j], "8080"), "hostname")
		if err == nil && got != o.nodes[j].Name {
			err = fmt.Errorf("answer %q", got)
		}
		return err
	})
}

func testCrossing(t *testing.T, o *crossing) {
	for i := range o.nodes {
		for j, to := range o.pods {
			if i == j {
				continue
			}
			for _, network := range []string{"http", "udp"} {
				if got := o.from(t, i, "dial", network, to+":8080", "client"); got != o.pods[i] {
					t.Errorf("pod of %s to pod of %s, %s: it sees %s, want %s", o.nodes[i].Name, o.nodes[j].Name, network, got, o.pods[i])
				}
			}
			o.reaches(t, i, j)
		}
	}
	if got := o.from(t, 1, "bulk", o.pods[2]+":8080", "20"); got != "20 MB there and back" {
		t.Errorf("large packets: %s", got)
	}
	inside := o.nodes[0].exec(t, o.ns, o.nodes[1].Name, "cat", "/sys/class/net/eth0/mtu")
	if outside := mtu(t, o.nodes[1]); inside != fmt.Sprint(outside) || outside != 1450 {
		t.Errorf("the pod's MTU is %s, that of %s %d; want 1450", inside, overlayLink, outside)
	}
	// Another node's own address is reached under the address of the pod's node.
	listener, err := o.nodes[2].Listen("tcp", net.JoinHostPort(o.nodes[2].IP().String(), "8090"))
	if err != nil {
		t.Fatal(err)
	}
	mirror(t, listener, nil)
	if got := o.from(t, 1, "dial", "http", listener.Addr().String(), "client"); got != o.nodes[1].IP().String() {
		t.Errorf("another node sees the pod as %s", got)
	}
}

func mtu(t testing.TB, n *node) (found int) {
	t.Helper()
	err := n.InNet(func() error {
		link, err := netlink.LinkByName(overlayLink)
		if err == nil {
			found = link.Attrs().MTU
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const crossingService = `
apiVersion: v1
kind: Service
metadata: {name: far}
spec: {type: NodePort, selector: {app: NAME}, ports: [{port: 80, targetPort: 8080, nodePort: 30088}]}
`

// testCrossingNames: a service whose only pod is on the third machine answers the pods of the second by its name, all machines at
// its address, and the outside at every machine's node port.
func testCrossingNames(t *testing.T, o *crossing) {
	server := o.nodes[0]
	server.apply(t, o.ns, strings.ReplaceAll(crossingService, "NAME", o.nodes[2].Name))
	answered := func(what string, ask func() (string, error)) {
		t.Helper()
		host.Eventually(t, 20*time.Second, what, func() error {
			got, err := ask()
			if err == nil && strings.TrimSpace(got) != o.nodes[2].Name {
				err = fmt.Errorf("answer %q", got)
			}
			return err
		})
	}
	answered("service by its name", func() (string, error) {
		r := server.tryKubectl(t, "", "exec", "-n", o.ns, o.nodes[1].Name, "--", "probe", "dial", "http", "far."+o.ns+":80", "hostname")
		return r.Stdout, r.Check()
	})
	ip := server.kubectl(t, "get", "service", "-n", o.ns, "far", "-o", "jsonpath={.spec.clusterIP}")
	for _, n := range o.nodes {
		answered("service from "+n.Name, func() (string, error) {
			return dialFrom(t.Context(), n.Dial, "tcp", net.JoinHostPort(ip, "80"), "hostname")
		})
		answered("node port of "+n.Name, func() (string, error) {
			return dialFrom(t.Context(), n.lab.Switch.Dial, "tcp", net.JoinHostPort(n.IP().String(), "30088"), "hostname")
		})
	}
}

// talkers are two pods with one connection that never ends, from the second agent to the first: the server takes one only, and the
// client ends with it.
const talkers = `
apiVersion: v1
kind: Pod
metadata: {name: listener}
spec:
  nodeName: NODE1
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: IMAGE, command: [nc, -l, -p, "9000", -e, cat]}]
---
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  nodeName: NODE2
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: IMAGE, command: [sh, -c, "while :; do echo word; sleep 0.1; done | nc PEER 9000"]}]
`

// testCrossingRestart: a connection between pods of two nodes survives that kedge ends and starts again on both.
func testCrossingRestart(t *testing.T, o *crossing) {
	server := o.nodes[0]
	parts := strings.SplitN(strings.NewReplacer("NODE1", o.nodes[1].Name, "NODE2", o.nodes[2].Name, "IMAGE", image.Name).Replace(talkers), "---", 2)
	server.apply(t, o.ns, parts[0])
	peer := server.waitPodReady(t, o.ns, "listener").Status.PodIP
	server.apply(t, o.ns, strings.ReplaceAll(parts[1], "PEER", peer))
	server.waitPodReady(t, o.ns, "talker")
	before := 0
	more := func(what string) { // a kubelet that has just started knows the pod a moment later
		t.Helper()
		host.Eventually(t, 20*time.Second, "words "+what, func() error {
			r := server.tryKubectl(t, "", "logs", "-n", o.ns, "talker")
			if now := strings.Count(r.Stdout, "word"); now < before+5 {
				return errors.Join(fmt.Errorf("%d, and %d before", now, before), r.Check())
			}
			before = strings.Count(r.Stdout, "word")
			return nil
		})
	}
	more("at first")
	for _, n := range o.nodes[1:] {
		n.terminate(t)
	}
	for i, n := range o.nodes[1:] {
		o.reaches(t, 0, i+1) // with kedge stopped
		n.join(t, server, "")
	}
	for _, n := range o.nodes[1:] {
		n.waitReady(t)
		n.waitLog(t, startLimit, `(?s)node is ready.*node is ready`)
	}
	more("while kedge was stopped")
	more("after the restart")
	server.kubectl(t, "delete", "pod", "-n", o.ns, "talker", "listener")
}

func testCrossingPartition(t *testing.T, o *crossing) {
	conn, err := o.nodes[1].Dial(t.Context(), "tcp", net.JoinHostPort(o.pods[2], "8080"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := o.nodes[2].Cut(); err != nil {
		t.Fatal(err)
	}
	if got, err := dialFrom(t.Context(), o.nodes[1].Dial, "tcp", net.JoinHostPort(o.pods[2], "8080"), "hostname"); err == nil {
		t.Errorf("an answer %q from an unplugged host", got)
	}
	if err := o.nodes[2].Mend(); err != nil {
		t.Fatal(err)
	}
	o.reaches(t, 1, 2)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET /hostname HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(strings.TrimSpace(string(all)), o.nodes[2].Name) {
		t.Errorf("connection from before: %q, %v", all, err)
	}
}

func testCrossingRepair(t *testing.T, o *crossing) {
	err := o.nodes[1].InNet(func() error {
		link, err := netlink.LinkByName(overlayLink)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	if err != nil {
		t.Fatal(err)
	}
	o.reaches(t, 1, 2)
	o.reaches(t, 2, 1)
}

// testCrossingAddress gives a host another address and starts kedge there again: the others learn it.
func testCrossingAddress(t *testing.T, o *crossing) {
	n := o.nodes[2]
	n.terminate(t)
	former := n.IP().To4()
	fresh := net.IPv4(former[0], former[1], former[2], 77).To4()
	err := n.InNet(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		address := func(ip net.IP) *netlink.Addr {
			return &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(24, 32)}}
		}
		return errors.Join(
			netlink.AddrDel(link, address(former)), netlink.AddrAdd(link, address(fresh)),
			netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: o.nodes[0].lab.Switch.Address()}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	n.join(t, o.nodes[0], "")
	host.Eventually(t, startLimit, "node with its new address", func() error {
		got := o.nodes[0].kubectl(t, "get", "node", n.Name, "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
		if !strings.Contains(got, fresh.String()) {
			return fmt.Errorf("it has %s", got)
		}
		return nil
	})
	o.reaches(t, 0, 2)
	o.reaches(t, 1, 2)
	o.reaches(t, 2, 1)
	if got := o.from(t, 1, "dial", "http", o.pods[2]+":8080", "client"); got != o.pods[1] {
		t.Errorf("the pod sees %s, want %s", got, o.pods[1])
	}
}

// testCrossingReset takes kedge off a machine: nothing of the overlay stays.
func testCrossingReset(t *testing.T, o *crossing) {
	n := o.nodes[1]
	n.terminate(t)
	if err := n.kedge(t, "reset", "--yes").Check(); err != nil {
		t.Fatal(err)
	}
	err := n.InNet(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if name := l.Attrs().Name; strings.HasPrefix(name, "kedge") || strings.HasPrefix(name, "kdg") {
				t.Errorf("link %s is left", name)
			}
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
		for _, r := range routes {
			if r.Dst != nil && strings.HasPrefix(r.Dst.String(), "10.42.") {
				t.Errorf("route %s is left", r)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
