package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kedge/tests/host"
)

// mirror serves, on a listener of the test, the address that it sees its client under; over UDP as well.
func mirror(t *testing.T, l net.Listener, c net.PacketConn) {
	t.Helper()
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, h)
	})}
	go server.Serve(l) // ends with the test
	t.Cleanup(func() { server.Close() })
	if c == nil {
		return
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(from.(*net.UDPAddr).IP.String()), from)
		}
	}()
}

// testNetwork walks the ways between pods, the host and the outside, and looks at each end who came.
func testNetwork(t *testing.T, n *node) {
	ns := n.namespace(t, "network")
	a, b := n.serving(t, ns, "a").Status.PodIP, n.serving(t, ns, "b").Status.PodIP
	pods := n.kubectl(t, "get", "node", n.Name, "-o", "jsonpath={.spec.podCIDR}")
	_, cidr, err := net.ParseCIDR(pods)
	if err != nil || !cidr.Contains(net.ParseIP(a)) || !cidr.Contains(net.ParseIP(b)) || a == b {
		t.Fatalf("pods have %s and %s, the node's network is %s (%v)", a, b, pods, err)
	}
	outside, err := n.lab.Switch.Listen("tcp", net.JoinHostPort(n.lab.Switch.Outside().String(), "8080"))
	if err != nil {
		t.Fatal(err)
	}
	outsideUDP, err := n.lab.Switch.ListenPacket("udp", outside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	mirror(t, outside, outsideUDP)
	local, err := n.Listen("tcp", net.JoinHostPort(n.IP().String(), "8090"))
	if err != nil {
		t.Fatal(err)
	}
	mirror(t, local, nil)

	for _, c := range []struct{ name, network, address, want string }{
		{"pod to pod", "http", b + ":8080", a},
		{"pod to pod, UDP", "udp", b + ":8080", a},
		{"pod to itself", "http", a + ":8080", a},
		{"pod to host", "http", n.IP().String() + ":8090", a},
		{"pod to outside", "http", outside.Addr().String(), n.IP().String()},
		{"pod to outside, UDP", "udp", outside.Addr().String(), n.IP().String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := n.exec(t, ns, "a", "probe", "dial", c.network, c.address, "client"); got != c.want {
				t.Errorf("%s sees %s, want %s", c.address, got, c.want)
			}
		})
	}
	t.Run("host to pod", func(t *testing.T) {
		if got := ask(t, n, "http://"+a+":8080/hostname"); got != "a\n" {
			t.Errorf("answer %q", got)
		}
	})
	t.Run("large packets", func(t *testing.T) {
		if got := n.exec(t, ns, "a", "probe", "bulk", b+":8080", "20"); got != "20 MB there and back" {
			t.Error(got)
		}
	})
	t.Run("API server at the first service address", func(t *testing.T) {
		if got := n.exec(t, ns, "a", "sh", "-c", "echo $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT"); got != "10.43.0.1 443" {
			t.Errorf("environment %q", got)
		}
		if got := n.exec(t, ns, "a", "probe", "api", "/api"); !strings.Contains(got, "serverAddressByClientCIDRs") {
			t.Errorf("answer %q", got)
		}
		if r := n.tryKubectl(t, "", "exec", "-n", ns, "a", "--", "probe", "api", "/api/v1/nodes"); r.Code == 0 || !strings.Contains(r.Stderr, "system:serviceaccount:network:default") {
			t.Errorf("the token is not that of the pod's account: %+v", r)
		}
	})
	t.Run("links and routes go with the pod", func(t *testing.T) { goesWithPod(t, n, ns) })
}

// goesWithPod compares the host's links and routes before a pod came and after it went.
func goesWithPod(t *testing.T, n *node, ns string) {
	state := func() string {
		return n.Must(t, "sh", "-c", "ls /sys/class/net; cut -f1-3 /proc/net/route; ls -A /run/netns 2>/dev/null; true")
	}
	host.Eventually(t, podLimit, "pods of earlier tests are gone", func() error {
		if got := n.kubectl(t, "get", "pods", "-A", "-o", "name"); got != "pod/a\npod/b" {
			return errors.New(got)
		}
		return nil
	})
	before := state()
	n.serving(t, ns, "guest")
	if state() == before {
		t.Fatal("a pod does not change links and routes: the comparison is worth nothing")
	}
	n.kubectl(t, "delete", "pod", "-n", ns, "guest")
	if after := state(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// dialFrom opens a connection by dial, says text and returns the answer of one read.
func dialFrom(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), network, address, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := dial(ctx, network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	if network == "udp" {
		if _, err := io.WriteString(c, text); err != nil {
			return "", err
		}
		buf := make([]byte, 1500)
		k, err := c.Read(buf)
		return string(buf[:k]), err
	}
	if _, err := fmt.Fprintf(c, "GET /%s HTTP/1.0\r\n\r\n", text); err != nil {
		return "", err
	}
	all, err := io.ReadAll(c)
	_, body, _ := strings.Cut(string(all), "\r\n\r\n")
	return strings.TrimSpace(body), err
}
