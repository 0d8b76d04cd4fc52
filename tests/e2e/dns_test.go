package e2e

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"kedge/tests/host"
	"kedge/tests/image"
)

// outsideResolver is the address of the name server that runs at the switch.
const outsideResolver = "192.0.2.1"

// serveNames runs a name server at the switch that knows names below example.test.
func serveNames(t *testing.T, lab *host.Lab) {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(req)
		q := req.Question[0]
		known := map[string]string{"www.example.test.": "192.0.2.80", "other.example.test.": "192.0.2.81"}
		switch ip, ok := known[strings.ToLower(q.Name)]; {
		case !ok:
			reply.Rcode = dns.RcodeNameError
		case q.Qtype == dns.TypeA:
			reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.ParseIP(ip)}}
		}
		_ = w.WriteMsg(reply)
	})
	address := net.JoinHostPort(outsideResolver, "53")
	packets, err := lab.Switch.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := lab.Switch.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe() // ends with the test
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
}

const dnsManifest = `
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {clusterIP: 10.43.7.7, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: www.example.test}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec: {hostname: first, subdomain: headless, terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [probe, serve]}]}
`

// resolver asks the cluster's name server from the host.
func (n *node) resolver(network string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return n.Dial(ctx, network, "10.43.0.10:53")
	}}
}

func testDNS(t *testing.T, n *node) {
	serveNames(t, n.lab)
	ns := n.namespace(t, "dns")
	n.apply(t, ns, strings.ReplaceAll(dnsManifest, "IMAGE", image.Name))
	web := n.waitPodReady(t, ns, "web-0").Status.PodIP
	n.serving(t, ns, "client")
	dashed := strings.ReplaceAll(web, ".", "-")
	for _, c := range []struct{ name, ask, want string }{
		{"API server", "kubernetes.default.svc.cluster.local", "10.43.0.1"},
		{"service", "plain.dns.svc.cluster.local", "10.43.7.7"},
		{"headless service", "headless.dns.svc.cluster.local", web},
		{"pod of a headless service", "first.headless.dns.svc.cluster.local", web},
		{"pod by address", dashed + ".dns.pod.cluster.local", web},
		{"external name", "www.example.test", "192.0.2.80"},
		{"service with an external name", "elsewhere.dns.svc.cluster.local", "192.0.2.80"},
		{"no such service", "missing.dns.svc.cluster.local", ""},
		{"no such name outside", "missing.example.test", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			host.Eventually(t, 20*time.Second, "answer to the host", func() error {
				for _, network := range []string{"udp", "tcp"} {
					found, err := n.resolver(network).LookupHost(t.Context(), c.ask+".")
					if got := strings.Join(found, " "); got != c.want || c.want != "" && err != nil {
						return fmt.Errorf("%s over %s: %q (%v), want %q", c.ask, network, got, err, c.want) //nolint:errorlint // often there is none
					}
				}
				return nil
			})
			r := n.tryKubectl(t, "", "exec", "-n", ns, "client", "--", "probe", "resolve", c.ask)
			if got := strings.TrimSpace(r.Stdout); got != c.want || c.want != "" && r.Code != 0 {
				t.Errorf("the pod finds %q, want %q: %s", got, c.want, r.Stderr)
			}
		})
	}
	t.Run("search path", func(t *testing.T) {
		for _, short := range []string{"plain", "plain.dns", "plain.dns.svc"} {
			if got := n.exec(t, ns, "client", "probe", "resolve", short); got != "10.43.7.7" {
				t.Errorf("%s is %q", short, got)
			}
		}
	})
	t.Run("reverse", func(t *testing.T) {
		names, err := n.resolver("udp").LookupAddr(t.Context(), "10.43.7.7")
		if err != nil || !slices.Contains(names, "plain.dns.svc.cluster.local.") {
			t.Errorf("names %q, %v", names, err)
		}
	})
	t.Run("service record", func(t *testing.T) {
		_, found, err := n.resolver("udp").LookupSRV(t.Context(), "http", "tcp", "plain.dns.svc.cluster.local")
		if err != nil || len(found) != 1 || found[0].Port != 80 {
			t.Errorf("records %v, %v", found, err)
		}
	})
	t.Run("not for others", func(t *testing.T) {
		for _, address := range []string{n.IP().String(), "10.43.0.10"} {
			query := new(dns.Msg).SetQuestion("kubernetes.default.svc.cluster.local.", dns.TypeA)
			packed, err := query.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := dialFrom(t.Context(), n.lab.Switch.Dial, "udp", address+":53", string(packed)); err == nil {
				t.Errorf("%s answers the outside: %q", address, got)
			}
		}
	})
}
