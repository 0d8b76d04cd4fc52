package proxy

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	upstream "k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/state"
)

func TestFlows(t *testing.T) {
	w := newWishes(state.Node{Name: "here", NodePortAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, true, false)
	f := w.families[0]
	add := func(name, ip string, protocol corev1.Protocol, nodePort int32, endpoints ...string) {
		s := service(name, ip, func(s *corev1.Service) {
			s.Spec.Ports[0].Protocol, s.Spec.Ports[0].NodePort, s.Spec.ExternalIPs = protocol, nodePort, []string{"198.51.100." + ip[len(ip)-1:]}
		})
		f.service(nil, s)
		f.slice(slice(name, protocol, endpoints...), false)
	}
	add("dns", "10.43.0.1", corev1.ProtocolUDP, 30053, "10.42.0.5", "10.42.0.6")
	add("lonely", "10.43.0.2", corev1.ProtocolUDP, 0)
	add("web", "10.43.0.3", corev1.ProtocolTCP, 0, "10.42.0.7")
	var touched []upstream.ServicePortName
	for _, names := range w.collect().touched {
		touched = append(touched, names...)
	}
	s := &sweeper{wake: make(chan struct{}, 1)}
	s.add(f, touched, w)
	for _, c := range []struct {
		asked, answers string
		protocol       uint8
		stale          bool
	}{
		{"10.43.0.1:80", "10.42.0.5:8080", unix.IPPROTO_UDP, false},
		{"10.43.0.1:80", "10.42.0.9:8080", unix.IPPROTO_UDP, true},
		{"10.43.0.1:80", "10.42.0.5:8081", unix.IPPROTO_UDP, true},
		{"10.43.0.1:80", "10.43.0.1:80", unix.IPPROTO_UDP, true}, // met the service before it had endpoints
		{"10.43.0.1:81", "10.42.0.9:8080", unix.IPPROTO_UDP, false},
		{"198.51.100.1:80", "10.42.0.9:8080", unix.IPPROTO_UDP, true},
		{"192.0.2.1:30053", "10.42.0.6:8080", unix.IPPROTO_UDP, false},
		{"192.0.2.1:30053", "10.42.0.9:8080", unix.IPPROTO_UDP, true},
		{"203.0.113.1:30053", "203.0.113.1:30053", unix.IPPROTO_UDP, false}, // somebody else's port
		{"10.43.0.2:80", "10.42.0.9:8080", unix.IPPROTO_UDP, false},         // nothing better to send to
		{"10.43.0.3:80", "10.42.0.9:8080", unix.IPPROTO_UDP, false},
		{"10.43.0.1:80", "10.42.0.9:8080", unix.IPPROTO_TCP, false},
	} {
		asked, answers := netip.MustParseAddrPort(c.asked), netip.MustParseAddrPort(c.answers)
		flow := &netlink.ConntrackFlow{
			Forward: netlink.IPTuple{Protocol: c.protocol, DstIP: net.IP(asked.Addr().AsSlice()), DstPort: asked.Port()},
			Reverse: netlink.IPTuple{Protocol: c.protocol, SrcIP: net.IP(answers.Addr().AsSlice()), SrcPort: answers.Port()},
		}
		if got := s.pending.MatchConntrackFlow(flow); got != c.stale {
			t.Errorf("%s answered by %s: stale %v, want %v", c.asked, c.answers, got, c.stale)
		}
	}
}

// TestConntrack: entries of a UDP service that lead elsewhere than to its endpoints are deleted in the kernel, others stay.
func TestConntrack(t *testing.T) {
	c := start(t)
	<-c.ready
	links, err := netlink.NewHandleAt(c.space, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	for i, to := range []string{"10.43.0.1:80 10.42.0.9:8080", "10.43.0.1:80 10.42.0.5:8080", "10.43.0.2:80 10.42.0.9:8080"} {
		asked, answers, _ := strings.Cut(to, " ")
		front, back := netip.MustParseAddrPort(asked), netip.MustParseAddrPort(answers)
		client := net.IPv4(10, 42, 0, 77).To4()
		flow := &netlink.ConntrackFlow{
			FamilyType: unix.AF_INET, TimeOut: 100,
			Forward: netlink.IPTuple{Protocol: unix.IPPROTO_UDP, SrcIP: client, SrcPort: uint16(1000 + i), DstIP: front.Addr().AsSlice(), DstPort: front.Port()},
			Reverse: netlink.IPTuple{Protocol: unix.IPPROTO_UDP, SrcIP: back.Addr().AsSlice(), SrcPort: back.Port(), DstIP: client, DstPort: uint16(1000 + i)},
		}
		if err := links.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, flow); err != nil {
			t.Fatal(err)
		}
	}
	udp := func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }
	c.services.Add(service("a", "10.43.0.1", udp))
	c.slices.Add(slice("a", corev1.ProtocolUDP, "10.42.0.5"))
	const want = "10.43.0.1 by 10.42.0.5, 10.43.0.2 by 10.42.0.9"
	deadline := time.Now().Add(10 * time.Second)
	for got := ""; got != want; {
		flows, err := links.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, f := range flows {
			left = append(left, f.Forward.DstIP.String()+" by "+f.Reverse.SrcIP.String())
		}
		slices.Sort(left)
		if got = strings.Join(left, ", "); got != want && time.Now().After(deadline) {
			t.Fatalf("left: %s; want %s", got, want)
		}
		runtime.Gosched()
	}
}
