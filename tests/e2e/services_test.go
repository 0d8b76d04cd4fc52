package e2e

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	discoveryv1 "k8s.io/api/discovery/v1"

	"kedge/tests/host"
	"kedge/tests/image"
)

// nodeIsReady matches the line of the part that is ready last.
var nodeIsReady = regexp.MustCompile(`(?m)^node +ready`)

const servicesYAML = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [probe, serve], readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: tcp, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: udp, protocol: UDP, port: 80, targetPort: 8080, nodePort: 30080}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec: {selector: {app: web}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {selector: {app: web}, clusterIP: None, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: lonely}
spec: {selector: {app: nobody}, type: NodePort, ports: [{port: 80, nodePort: 30081}]}
---
apiVersion: v1
kind: Service
metadata: {name: self}
spec: {selector: {app: client}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: client}
  healthCheckNodePort: 30999
  externalIPs: [203.0.113.5]
  ports: [{port: 80, targetPort: 8080, nodePort: 30082}]
`

// serviceIP waits until a Service has as many ready endpoints, and returns its cluster IP.
func (n *node) serviceIP(t testing.TB, ns, name string, endpoints int) string {
	t.Helper()
	host.Eventually(t, podLimit, fmt.Sprintf("service %s has %d endpoints", name, endpoints), func() error {
		var all discoveryv1.EndpointSliceList
		path := "/apis/discovery.k8s.io/v1/namespaces/" + ns + "/endpointslices?labelSelector=" + discoveryv1.LabelServiceName + "%3D" + name
		if err := n.mustClient(t).get(t.Context(), path, &all); err != nil {
			return err
		}
		ready := 0
		for _, s := range all.Items {
			for _, e := range s.Endpoints {
				if *e.Conditions.Ready {
					ready++
				}
			}
		}
		if ready != endpoints {
			return fmt.Errorf("it has %d", ready)
		}
		return nil
	})
	return n.kubectl(t, "get", "service", "-n", ns, name, "-o", "jsonpath={.spec.clusterIP}")
}

// testServices asks for services in every way, from pods, from the node and from outside.
func testServices(t *testing.T, n *node) {
	ns := n.namespace(t, "services")
	n.apply(t, ns, strings.ReplaceAll(servicesYAML, "IMAGE", image.Name))
	client := n.serving(t, ns, "client").Status.PodIP
	ip := map[string]string{}
	for name, endpoints := range map[string]int{"web": 2, "sticky": 2, "lonely": 0, "self": 1, "local": 1} {
		ip[name] = n.serviceIP(t, ns, name, endpoints)
	}
	outside, inside := dialer(n.lab.Switch.Dial), dialer(n.Dial)
	fromPod := func(network, address, question string) (string, error) {
		r := n.tryKubectl(t, "", "exec", "-n", ns, "client", "--", "probe", "dial", network, address, question)
		return strings.TrimSpace(r.Stdout + r.Stderr), r.Check()
	}
	fromNode := func(network, address, question string) (string, error) {
		return dialFrom(t.Context(), inside, strings.ReplaceAll(network, "http", "tcp"), address, question)
	}

	t.Run("every endpoint answers, to a pod and to the node", func(t *testing.T) {
		for name, from := range map[string]func(string, string, string) (string, error){"pod": fromPod, "node": fromNode} {
			for _, network := range []string{"http", "udp"} {
				if got := answers(t, from, network, ip["web"]+":80"); len(got) != 2 || !strings.HasPrefix(got[0], "web-") {
					t.Errorf("%s, %s: answers %q", name, network, got)
				}
			}
		}
	})
	t.Run("sources", func(t *testing.T) {
		if got, err := fromPod("http", ip["web"]+":80", "client"); err != nil || got != client {
			t.Errorf("a pod is seen as %q (%v), want %s", got, err, client)
		}
		if got, err := fromPod("http", ip["self"]+":80", "hostname"); err != nil || got != "client" {
			t.Errorf("a pod reaches itself: %q, %v", got, err)
		}
	})
	t.Run("affinity", func(t *testing.T) {
		first, err := fromNode("http", ip["sticky"]+":80", "hostname")
		for range 20 {
			got, nextErr := fromNode("http", ip["sticky"]+":80", "hostname")
			if err = errors.Join(err, nextErr); err != nil || got != first {
				t.Fatalf("%q after %q, %v", got, first, err)
			}
		}
	})
	t.Run("headless", func(t *testing.T) {
		if got := n.exec(t, ns, "client", "probe", "resolve", "headless."+ns+".svc.cluster.local"); len(strings.Fields(got)) != 2 {
			t.Errorf("addresses %q", got)
		}
	})
	t.Run("without endpoints it refuses at once", func(t *testing.T) {
		for _, address := range []string{ip["lonely"] + ":80", n.IP().String() + ":30081"} {
			begin := time.Now()
			_, err := n.Dial(t.Context(), "tcp", address)
			if took := time.Since(begin); !errors.Is(err, syscall.ECONNREFUSED) || took > time.Second {
				t.Errorf("%s from the node: %v after %s", address, err, took)
			}
			if said, err := fromPod("tcp", address, ""); err == nil || !strings.Contains(said, "connection refused") {
				t.Errorf("%s from a pod: %s", address, said)
			}
		}
	})
	nodePorts(t, n, outside, inside)
	t.Run("metrics", func(t *testing.T) {
		for _, path := range []string{"/metrics", "/api/v1/nodes/" + n.Name + "/proxy/metrics"} { // of the API server, and of the kubelet
			text := n.kubectl(t, "get", "--raw", path)
			for _, name := range []string{"sync_proxy_rules_duration_seconds_count", "network_programming_duration_seconds_count", "sync_proxy_rules_service_ports", "sync_proxy_rules_frontends"} {
				if !strings.Contains(text, "\nkubeproxy_"+name+`{ip_family="IPv4"} `) {
					t.Errorf("%s: there is no kubeproxy_%s", path, name)
				}
			}
		}
	})
	t.Run("status", func(t *testing.T) {
		if got := n.Must(t, kedge, "status"); !strings.Contains(got, "proxy") || !strings.Contains(got, "(the kernel has") {
			t.Errorf("status\n%s", got)
		}
	})
}

// answers are the host names that answer many questions, each once.
func answers(t *testing.T, from func(network, address, question string) (string, error), network, address string) []string {
	t.Helper()
	var all []string
	for range 40 {
		got, err := from(network, address, "hostname")
		if err != nil {
			t.Fatalf("%s %s: %v %s", network, address, err, got)
		}
		if !slices.Contains(all, got) {
			all = append(all, got)
		}
		if len(all) == 2 {
			break
		}
	}
	return all
}

// nodePorts asks for those of testServices.
func nodePorts(t *testing.T, n *node, outside, inside dialer) {
	t.Helper()
	self, stranger := n.IP().String(), n.lab.Switch.Address().String()
	checkPorts(t, []portCheck{
		{"node port from the node", inside, "tcp", self, "30082", "hostname", "client"},
		{"node port from outside keeps the source", outside, "tcp", self, "30082", "client", stranger},
		{"node port by loopback", inside, "tcp", "127.0.0.1", "30082", "hostname", ""},
		{"external address from the node", inside, "tcp", "203.0.113.5", "80", "hostname", "client"},
	})
	for _, network := range []string{"tcp", "udp"} {
		from := func(network, address, question string) (string, error) {
			return dialFrom(t.Context(), outside, network, address, question)
		}
		if got := answers(t, from, network, self+":30080"); len(got) != 2 {
			t.Errorf("node port from outside, %s: answers %q", network, got)
		}
	}
	t.Run("health check node port", func(t *testing.T) {
		if got := ask(t, n, "http://"+self+":30999"); !strings.Contains(got, `"localEndpoints": 1`) {
			t.Errorf("answer %q", got)
		}
	})
}

// TestServicesSurvive restarts and kills kedge while connections through services are made and one is held.
func TestServicesSurvive(t *testing.T) {
	n := boot(t)
	ns := n.namespace(t, "services")
	n.apply(t, ns, strings.ReplaceAll(servicesYAML, "IMAGE", image.Name))
	ip := n.serviceIP(t, ns, "web", 2)
	nodePort := net.JoinHostPort(n.IP().String(), "30080")
	hold := func(dial dialer, address string) func() {
		c, err := dial(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return func() {
			t.Helper()
			if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, err := c.Write([]byte("GET /hostname HTTP/1.1\r\nHost: web\r\n\r\n"))
			buf := make([]byte, 4096)
			k, readErr := c.Read(buf)
			if err := errors.Join(err, readErr); err != nil || !strings.Contains(string(buf[:k]), "200 OK") {
				t.Errorf("held connection to %s: %v %q", address, err, buf[:k])
			}
		}
	}
	held := []func(){hold(n.Dial, ip+":80"), hold(n.lab.Switch.Dial, nodePort)}
	kubernetes := func() error {
		_, err := n.Dial(t.Context(), "tcp", "10.43.0.1:443")
		return err
	}
	for name, stop := range map[string]func(){
		"restart": func() { n.terminate(t) },
		"kill":    func() { n.crash(t) },
	} {
		t.Run(name, func(t *testing.T) {
			finish := n.connectAlways(t, map[string]dialer{ip + ":80": n.Dial, nodePort: n.lab.Switch.Dial})
			stop()
			n.start(t)
			n.waitHealthy(t)
			t.Logf("connections meanwhile: %d", finish())
			for _, check := range held {
				check()
			}
			if err := kubernetes(); err != nil {
				t.Errorf("service of the API server: %v", err)
			}
		})
	}
	n.switchesMode(t, ip+":80", kubernetes)
}

// connectAlways makes a connection to each address every few milliseconds, until finish is called, which reports the ones that failed.
func (n *node) connectAlways(t *testing.T, addresses map[string]dialer) (finish func() int) {
	stop, failures, counts := make(chan struct{}), make(chan error, 20), make(chan int, len(addresses))
	for address, dial := range addresses {
		go func() {
			ticker := time.NewTicker(10 * time.Millisecond)
			defer ticker.Stop()
			for count := 0; ; count++ {
				if _, err := dialFrom(t.Context(), dial, "tcp", address, "hostname"); err != nil {
					select {
					case failures <- fmt.Errorf("connection %d to %s: %w", count, address, err):
					default: // enough have been noted
					}
				}
				select {
				case <-ticker.C:
				case <-stop:
					counts <- count
					return
				}
			}
		}()
	}
	return func() (all int) {
		close(stop)
		for range addresses {
			all += <-counts
		}
		close(failures)
		for err := range failures {
			t.Error(err)
		}
		return all
	}
}

// switchesMode goes to no proxy and back.
func (n *node) switchesMode(t *testing.T, address string, kubernetes func() error) {
	again := func(args ...string) string {
		n.terminate(t)
		n.start(t, args...)
		return n.waitHealthy(t)
	}
	if !strings.Contains(n.rules(t), "svc-") {
		t.Fatalf("there are no rules for services:\n%s", n.rules(t))
	}
	if got := again("--proxy-mode=none"); !strings.Contains(got, "none (--proxy-mode says so)") {
		t.Errorf("status\n%s", got)
	}
	host.Eventually(t, podLimit, "rules for services are gone", func() error {
		if left := n.rules(t); strings.Contains(left, "svc-") {
			return errors.New(left)
		}
		return nil
	})
	if _, err := dialFrom(t.Context(), n.Dial, "tcp", address, "hostname"); err == nil {
		t.Error("without proxy a service answers")
	}
	if err := kubernetes(); err != nil {
		t.Errorf("without proxy the API server's service does not answer: %v", err)
	}
	if got := again("--proxy-mode=nftables"); !strings.Contains(got, "nftables (--proxy-mode says so)") {
		t.Errorf("status\n%s", got)
	}
	if got, err := dialFrom(t.Context(), n.Dial, "tcp", address, "hostname"); err != nil || !strings.HasPrefix(got, "web-") {
		t.Errorf("with a proxy again: %q, %v", got, err)
	}
	if err := kubernetes(); err != nil {
		t.Errorf("with a proxy again the API server's service does not answer: %v", err)
	}
}

// waitHealthy waits until all parts of the process are ready, also after a restart, and returns the status.
func (n *node) waitHealthy(t *testing.T) string {
	t.Helper()
	var r host.Result
	host.Eventually(t, startLimit, "status is healthy", func() error {
		if err := n.alive(); err != nil {
			t.Fatal(err)
		}
		r = n.Exec(t.Context(), kedge, "status")
		if !nodeIsReady.MatchString(r.Stdout) { // parts that have not begun to start are not listed
			return errors.New(r.Stdout)
		}
		return r.Check()
	})
	return r.Stdout
}

// rules names the chains of nftables on the host.
func (n *node) rules(t *testing.T) string {
	t.Helper()
	var names []string
	err := n.InNet(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := conn.ListChains()
		for _, c := range chains {
			names = append(names, c.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}
