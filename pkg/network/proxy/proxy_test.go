package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/component-base/metrics"

	"kedge/pkg/network/proxy/state"
)

// source is a cluster with objects of one kind.
type source struct {
	*cachetesting.FakeControllerSource
}

// IsWatchListSemanticsUnSupported tells the informer to list.
func (source) IsWatchListSemanticsUnSupported() bool { return true }

// recorder is a backend that tells each call, and fails when it is asked to.
type recorder struct {
	calls chan string
	fail  chan error // what the next calls return
	drift chan int   // what the next Sync finds different
}

func newRecorder() *recorder {
	return &recorder{make(chan string, 100), make(chan error, 10), make(chan int, 10)}
}

func (r *recorder) answer() error {
	select {
	case err := <-r.fail:
		return err
	default:
		return nil
	}
}

func (r *recorder) Sync(node state.Node, all map[state.Key]*state.Service) (int, error) {
	var lines []string
	for _, s := range all {
		lines = append(lines, s.String())
	}
	slices.Sort(lines)
	where := fmt.Sprint("sync ", node.NodePortAddresses)
	if len(node.PodCIDRs) > 0 {
		where += fmt.Sprint(" pods ", node.PodCIDRs)
	}
	r.calls <- where + "\n" + strings.Join(lines, "")
	select {
	case n := <-r.drift:
		return n, r.answer()
	default:
		return 0, r.answer()
	}
}

func (r *recorder) Update(changes []state.Change) error {
	var lines []string
	for _, c := range changes {
		if c.New == nil {
			lines = append(lines, "gone "+c.Old.Key.String()+"\n")
		} else {
			lines = append(lines, c.New.String())
		}
	}
	slices.Sort(lines)
	r.calls <- "update\n" + strings.Join(lines, "")
	return r.answer()
}

func (r *recorder) Close() error { r.calls <- "close"; return nil }

// want waits for the next call.
func (r *recorder) want(t *testing.T, lines ...string) {
	t.Helper()
	select {
	case got := <-r.calls:
		if diff := cmp.Diff(strings.Join(lines, "\n"), strings.TrimSpace(got)); diff != "" {
			t.Fatalf("call (-want +got):\n%s", diff)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no call, want %q", lines)
	}
}

// cluster is a proxy in a network namespace of its own, with its objects.
type cluster struct {
	services, slices, nodes source
	backend                 *recorder
	space                   netns.NsHandle
	ready                   chan struct{}
	proxy                   *Proxy
}

func start(t *testing.T, nodePortAddresses ...string) *cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	c := &cluster{backend: newRecorder(), ready: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	inform := func(s *source, object k8sruntime.Object) cache.SharedIndexInformer {
		s.FakeControllerSource = cachetesting.NewFakeControllerSource()
		i := cache.NewSharedIndexInformer(s, object, 0, nil)
		go i.RunWithContext(ctx)
		return i
	}
	p, err := New(Options{
		Node: state.Node{
			Name: "here", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16")},
		},
		Services: inform(&c.services, &corev1.Service{}), Slices: inform(&c.slices, &discoveryv1.EndpointSlice{}), Nodes: inform(&c.nodes, &corev1.Node{}),
		NodePortAddresses: nodePortAddresses,
		Open:              func() (state.Backend, error) { return c.backend, nil },
		Register:          func(...metrics.Registerable) error { return nil },
		Log:               slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.proxy = p
	done, entered := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with it
		space, err := netns.New()
		c.space = space
		if entered <- err; err == nil {
			done <- p.Run(ctx, func() { close(c.ready) })
		}
	}()
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = c.space.Close()
	})
	return c
}

func service(name, ip string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func slice(service string, protocol corev1.Protocol, addresses ...string) *discoveryv1.EndpointSlice {
	name, port, here := "", int32(8080), "here"
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "n", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}},
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, NodeName: &here})
	}
	return s
}

func TestFollow(t *testing.T) {
	c := start(t)
	b := c.backend
	b.want(t, "sync []")
	<-c.ready
	c.services.Add(service("a", "10.43.0.1"))
	b.want(t, "update", "n/a IPv4 TCP no endpoints", "  ClusterIP 10.43.0.1:80 -> cluster")
	c.slices.Add(slice("a", corev1.ProtocolTCP, "10.42.0.5"))
	b.want(t, "update", "n/a IPv4 TCP", "  ClusterIP 10.43.0.1:80 -> cluster", "  cluster: 10.42.0.5:8080(here)")
	c.slices.Add(slice("nobody", corev1.ProtocolTCP, "10.42.0.6")) // no service: nothing to do
	c.slices.Modify(slice("a", corev1.ProtocolTCP, "10.42.0.5", "10.42.0.7"))
	b.want(t, "update", "n/a IPv4 TCP", "  ClusterIP 10.43.0.1:80 -> cluster", "  cluster: 10.42.0.5:8080(here) 10.42.0.7:8080(here)")
	c.slices.Delete(slice("a", corev1.ProtocolTCP))
	b.want(t, "update", "n/a IPv4 TCP no endpoints", "  ClusterIP 10.43.0.1:80 -> cluster")
	external := func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"10.43.0.1"} }
	c.services.Add(service("thief", "10.43.0.9", external))
	b.want(t, "update", "n/thief IPv4 TCP no endpoints", "  ClusterIP 10.43.0.9:80 -> cluster")
	c.services.Delete(service("a", "10.43.0.1"))
	b.want(t, "update", "gone n/a IPv4", "n/thief IPv4 TCP no endpoints", "  ExternalIP 10.43.0.1:80 -> cluster", "  ClusterIP 10.43.0.9:80 -> cluster")
}

func TestErrorsAreRepaired(t *testing.T) {
	c := start(t)
	b := c.backend
	b.want(t, "sync []")
	<-c.ready
	b.fail <- errors.New("no buffer space")
	b.fail <- errors.New("no buffer space")
	c.services.Add(service("a", "10.43.0.1"))
	lines := []string{"n/a IPv4 TCP no endpoints", "  ClusterIP 10.43.0.1:80 -> cluster"}
	b.want(t, append([]string{"update"}, lines...)...)
	b.want(t, append([]string{"sync []"}, lines...)...)
	if c.proxy.health.Health().Healthy {
		t.Error("healthy after an error")
	}
	b.want(t, append([]string{"sync []"}, lines...)...)
	c.services.Add(service("b", "10.43.0.2"))
	b.want(t, "update", "n/b IPv4 TCP no endpoints", "  ClusterIP 10.43.0.2:80 -> cluster")
	if !c.proxy.health.Health().Healthy {
		t.Error("not healthy after the repair")
	}
}

// TestBurst: what comes together is applied in few calls, and all of it is.
func TestBurst(t *testing.T) {
	c := start(t)
	c.backend.want(t, "sync []")
	<-c.ready
	const many = 500
	for i := range many {
		c.services.Add(service(fmt.Sprintf("s%d", i), fmt.Sprintf("10.43.%d.%d", 1+i/200, i%200)))
	}
	seen, calls := 0, 0
	for seen < many {
		select {
		case call := <-c.backend.calls:
			calls++
			seen += strings.Count(call, "n/s")
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d services in %d calls", seen, many, calls)
		}
	}
	t.Logf("%d services in %d calls", seen, calls)
}

func TestTopology(t *testing.T) {
	c := start(t)
	b := c.backend
	c.services.Add(service("a", "10.43.0.1"))
	s := slice("a", corev1.ProtocolTCP, "10.42.0.5", "10.42.0.6")
	for i, zone := range []string{"z1", "z2"} {
		s.Endpoints[i].Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
	}
	c.slices.Add(s)
	both := "  cluster: 10.42.0.5:8080(here) 10.42.0.6:8080(here)"
	lines := []string{"n/a IPv4 TCP", "  ClusterIP 10.43.0.1:80 -> cluster"}
	for last := false; !last; { // the two may come together or one after the other
		call := strings.TrimSpace(<-b.calls)
		last = strings.HasSuffix(call, both)
	}
	node := func(name, zone string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
	}
	c.nodes.Add(node("there", "z1"))
	c.nodes.Add(node("here", "z2"))
	b.want(t, append(append([]string{"update"}, lines...), "  cluster: 10.42.0.6:8080(here)")...)
	c.nodes.Modify(node("here", "z2")) // nothing new
	c.nodes.Modify(node("here", "z3"))
	b.want(t, append(append([]string{"update"}, lines...), both)...)
	withPods := node("here", "z3")
	withPods.Spec.PodCIDRs = []string{"10.42.0.0/24"}
	c.nodes.Modify(withPods)
	b.want(t, append(append([]string{"sync [] pods [10.42.0.0/24]"}, lines...), both)...)
}

func TestAddressesAreFollowed(t *testing.T) {
	c := start(t, "192.0.2.0/24")
	b := c.backend
	b.want(t, "sync []")
	links, err := netlink.NewHandleAt(c.space)
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	lo, err := links.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	set := func(do func(netlink.Link, *netlink.Addr) error, text string) {
		t.Helper()
		a, err := netlink.ParseAddr(text)
		if err == nil {
			err = do(lo, a)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set(links.AddrAdd, "203.0.113.7/32") // not in the networks
	set(links.AddrAdd, "192.0.2.7/32")
	b.want(t, "sync [192.0.2.7]")
	set(links.AddrDel, "192.0.2.7/32")
	b.want(t, "sync []")
}

func TestHealthCheckNodePort(t *testing.T) {
	c := start(t)
	local := func(port int32) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Spec.Type, s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal, port
		}
	}
	links, err := netlink.NewHandleAt(c.space)
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	if lo, err := links.LinkByName("lo"); err != nil || links.LinkSetUp(lo) != nil {
		t.Fatal("lo cannot be set up")
	}
	<-c.ready
	get := func(port string) string {
		result := make(chan string, 1)
		go func() {
			runtime.LockOSThread() // as above
			if err := netns.Set(c.space); err != nil {
				result <- err.Error()
				return
			}
			conn, err := net.Dial("tcp4", "127.0.0.1:"+port)
			if err != nil {
				result <- "closed"
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
			answer, err := io.ReadAll(conn)
			if err != nil {
				result <- err.Error()
				return
			}
			status, _, _ := strings.Cut(string(answer), "\r\n")
			_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
			result <- strings.TrimPrefix(status, "HTTP/1.0 ") + " " + strings.Join(strings.Fields(body), "")
		}()
		return <-result
	}
	until := func(port, want string) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for got := get(port); got != want; got = get(port) {
			if time.Now().After(deadline) {
				t.Fatalf("port %s: %s, want %s", port, got, want)
			}
			runtime.Gosched()
		}
	}
	body := `{"service":{"namespace":"n","name":"a"},"localEndpoints":%d,"serviceProxyHealthy":true}`
	c.services.Add(service("a", "10.43.0.1", local(30999)))
	until("30999", "503 Service Unavailable "+fmt.Sprintf(body, 0))
	c.slices.Add(slice("a", corev1.ProtocolTCP, "10.42.0.5", "10.42.0.6"))
	until("30999", "200 OK "+fmt.Sprintf(body, 2))
	c.services.Modify(service("a", "10.43.0.1", local(30998)))
	until("30998", "200 OK "+fmt.Sprintf(body, 2))
	until("30999", "closed")
	c.slices.Delete(slice("a", corev1.ProtocolTCP))
	until("30998", "503 Service Unavailable "+fmt.Sprintf(body, 0))
	c.services.Delete(service("a", "10.43.0.1", local(30998)))
	until("30998", "closed")
}
