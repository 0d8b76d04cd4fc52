package ipvs

import (
	_ "embed"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/proxy"

	"kedge/pkg/network/proxy/ipvs/vs"
	"kedge/pkg/network/proxy/state"
)

//go:embed testdata/desired.txt
var golden string // in the test's binary, which also runs where nothing else is

var update = flag.Bool("update", false, "write testdata anew") //nolint:gochecknoglobals // a flag of the test

// TestDesired: testdata/desired.txt is what the kernel is to hold for services with everything that a wish can say.
func TestDesired(t *testing.T) {
	marks := newMarks()
	sh := shaper{
		node: testNode(), here: map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true}, scheduler: "rr",
		usable: func(name string) bool { return name != "unknown" }, mark: marks.id,
	}
	want := newDesired(0)
	var out strings.Builder
	for _, s := range everyKind() {
		want.add(s, sh.wish(s))
		out.WriteString(s.String())
	}
	got := out.String() + "\n" + serversText(want) + elementsText(want)
	if *update {
		if err := os.WriteFile("testdata/desired.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(golden, got); diff != "" {
		t.Errorf("differs from testdata/desired.txt (-want +got); -update accepts it:\n%s", diff)
	}
}

func everyKind() []*state.Service {
	at, cidr := netip.MustParseAddr, netip.MustParsePrefix
	outside := func(s *state.Service, p state.Pool, keep bool) {
		s.Frontends = append(
			s.Frontends,
			state.Frontend{Port: 30000 + s.Frontends[0].Port, Kind: state.NodePort, Outside: p, KeepSource: keep},
			state.Frontend{Address: at("203.0.113.4"), Port: s.Frontends[0].Port, Kind: state.ExternalIP, Outside: p, KeepSource: keep},
			state.Frontend{Address: at("192.0.2.1"), Port: s.Frontends[0].Port, Kind: state.ExternalIP, Outside: p, KeepSource: keep},
		)
	}
	plain := wanted("plain", unix.IPPROTO_TCP, "10.43.0.1:443", "*10.42.1.2:8443", "10.42.2.2:8443")
	six := wanted("six", unix.IPPROTO_TCP, "[fd43::1]:443", "*[fd42:0:0:1::2]:8443", "[fd42::2]:8443")
	six.Frontends = append(six.Frontends, state.Frontend{Port: 30443, Kind: state.NodePort})
	empty := wanted("empty", unix.IPPROTO_TCP, "10.43.0.2:80")
	elsewhere := wanted("elsewhere", unix.IPPROTO_TCP, "10.43.0.3:80", "10.42.2.4:80")
	elsewhere.Frontends[0].Inside, elsewhere.Frontends[0].Outside = state.Local, state.Local
	public := wanted("public", unix.IPPROTO_TCP, "10.43.0.4:80", "*10.42.1.5:80", "10.42.2.5:80")
	outside(public, state.Cluster, false)
	local := wanted("local", unix.IPPROTO_UDP, "10.43.0.5:53", "*10.42.1.6:5353", "10.42.2.6:5353")
	outside(local, state.Local, true)
	guarded := wanted("guarded", unix.IPPROTO_TCP, "10.43.0.6:81", "10.42.2.7:81")
	guarded.Frontends = append(guarded.Frontends, state.Frontend{
		Address: at("203.0.113.5"), Port: 81, Kind: state.LoadBalancer, Sources: []netip.Prefix{cidr("192.0.2.0/25"), cidr("198.51.100.7/32")},
	})
	sticky := wanted("sticky", unix.IPPROTO_TCP, "10.43.0.7:82", "*10.42.1.8:82", "10.42.2.8:82")
	sticky.Affinity = 3 * time.Hour
	outside(sticky, state.Local, true)
	hashed := wanted("hashed", unix.IPPROTO_SCTP, "10.43.0.8:80", "10.42.2.9:80")
	hashed.Scheduler = "sh"
	unknown := wanted("unknown", unix.IPPROTO_TCP, "10.43.0.9:80", "10.42.2.9:80")
	unknown.Scheduler = "unknown"
	return []*state.Service{plain, six, empty, elsewhere, public, local, guarded, sticky, hashed, unknown}
}

// wanted is a service with a cluster IP; a * marks endpoints of this node.
func wanted(name string, protocol uint8, address string, endpoints ...string) *state.Service {
	at := netip.MustParseAddrPort(address)
	s := &state.Service{
		Key:      state.Key{ServicePortName: proxy.ServicePortName{NamespacedName: types.NamespacedName{Namespace: "default", Name: name}}, V6: at.Addr().Is6()},
		Protocol: protocol, Endpoints: len(endpoints) > 0, Frontends: []state.Frontend{{Address: at.Addr(), Port: at.Port()}},
	}
	for _, text := range endpoints {
		to, here := strings.CutPrefix(text, "*")
		e := state.Endpoint{AddrPort: netip.MustParseAddrPort(to), Local: here}
		if s.Cluster = append(s.Cluster, e); here {
			s.Local = append(s.Local, e)
		}
	}
	return s
}

func serversText(d *desired) string {
	var all []string
	for _, s := range d.servers {
		text := fmt.Sprintf("virtual server %s %s", s.ID, s.Scheduler)
		if s.Flags&vs.HashFallback != 0 {
			text += " fallback"
		}
		if s.Flags&vs.Persistent != 0 {
			text += fmt.Sprintf(" persistent %d s", s.Timeout)
		}
		if s.drains {
			text += " drains"
		}
		all = append(all, fmt.Sprintf("%s to %v\n", text, s.dests))
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func elementsText(d *desired) string {
	var all []string
	for e := range d.elements() {
		text := e.set.name(e.v6) + " "
		if at, ok := entryOf(e); ok && e.isEntry() {
			text += fmt.Sprintf("%s %s", vs.ProtocolName(at.protocol), at.AddrPort)
		} else {
			text += addressText(e.key, e.v6)
		}
		switch e.set {
		case setKnown:
			text += ": " + e.value
		case setMarks:
			text += fmt.Sprintf(": %#x", binary.NativeEndian.Uint32([]byte(e.value)))
		case setSources:
			text += fmt.Sprintf(" from %s to %s", addressText(e.key[e.entrySize():], e.v6), addressText(e.end[e.entrySize():], e.v6))
		}
		all = append(all, text+"\n")
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// addressText is the address that the key begins with.
func addressText(key string, v6 bool) string {
	size := 4
	if v6 {
		size = 16
	}
	addr, _ := netip.AddrFromSlice([]byte(key[:size]))
	return addr.String()
}
