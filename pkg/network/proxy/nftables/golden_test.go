package nftables

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/proxy/state"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	os.Exit(m.Run())
}

// everyKind are services with everything that a wish can say.
func everyKind() []*state.Service {
	plain := clusterIP("plain", "10.43.0.1:443", "*10.42.0.2:8443", "10.42.1.2:8443")
	six := clusterIP("six", "[fd43::1]:443", "*[fd42::2]:8443", "[fd42:0:0:1::2]:8443", "[fd42:0:0:1::3]:8443")
	empty := clusterIP("empty", "10.43.0.2:80")
	elsewhere := clusterIP("elsewhere", "10.43.0.3:80", "10.42.1.4:80")
	elsewhere.Frontends[0].Inside, elsewhere.Frontends[0].Outside = state.Local, state.Local
	public := clusterIP("public", "10.43.0.4:53", "*10.42.0.5:5353", "10.42.1.5:5353", "10.42.1.6:5353")
	public.Protocol, public.Local = unix.IPPROTO_UDP, endpointList("*10.42.0.5:5353")
	public.Frontends = append(
		public.Frontends,
		state.Frontend{Port: 30053, Kind: state.NodePort, Outside: state.Local, KeepSource: true},
		state.Frontend{Address: netip.MustParseAddr("203.0.113.4"), Port: 53, Kind: state.ExternalIP, Inside: state.Local},
		state.Frontend{
			Address: netip.MustParseAddr("203.0.113.5"), Port: 53, Kind: state.LoadBalancer,
			Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("198.51.100.7/32")},
		},
	)
	sticky := clusterIP("sticky", "10.43.0.6:80", "10.42.1.7:80", "10.42.1.8:80")
	sticky.Affinity = 3 * time.Hour
	sticky.Frontends = append(sticky.Frontends, state.Frontend{Port: 30080, Kind: state.NodePort})
	stream := clusterIP("stream", "10.43.0.7:80", "10.42.1.9:80")
	stream.Protocol = unix.IPPROTO_SCTP
	return []*state.Service{plain, six, empty, elsewhere, public, sticky, stream}
}

// TestGolden: testdata/kernel.txt is what the kernel holds for everyKind.
func TestGolden(t *testing.T) {
	b := fresh(t)
	must(b.Sync(testNode(), wishes(everyKind()...)))(t)
	got := kernelText(t, b)
	const file = "testdata/kernel.txt"
	if flag.Lookup("update").Value.String() == "true" {
		check(t, os.WriteFile(file, []byte(got), 0o644))
	}
	if diff := cmp.Diff(string(must(os.ReadFile(file))(t)), got); diff != "" {
		t.Errorf("the kernel does not hold what %s says (-want +got); -update writes it anew:\n%s", file, diff)
	}
	check(t, Clean())
	if left := kernelText(t, b); left != "" {
		t.Errorf("after Clean there is still:\n%s", left)
	}
}

// TestListable: nft can show the table. Some rules that the kernel takes make it abort.
func TestListable(t *testing.T) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("needs nft:", err)
	}
	b := fresh(t)
	must(b.Sync(testNode(), wishes(everyKind()...)))(t)
	if out, err := exec.CommandContext(t.Context(), nft, "list", "table", "inet", "kedge").CombinedOutput(); err != nil {
		t.Errorf("nft list table inet kedge: %v\n%s", err, out)
	}
}
