package dns_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/network/dns"
)

var update = flag.Bool("update", false, "write testdata anew") //nolint:gochecknoglobals // a flag of the test

func addresses(texts ...string) []netip.Addr {
	out := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

func TestCorefile(t *testing.T) {
	v4 := dns.Config{Addresses: addresses("10.43.0.10"), Domain: "cluster.local", Kubeconfig: "/var/lib/kedge/agent/tls/kubelet.kubeconfig"}
	dual := v4
	dual.Addresses, dual.Domain = addresses("10.43.0.10", "fd00:43::a"), "example.org"
	for name, got := range map[string]string{
		"v4":   v4.Corefile([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}),
		"dual": dual.Corefile([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53")}),
		"lone": v4.Corefile(nil),
	} {
		t.Run(name, func(t *testing.T) {
			file := "testdata/" + name + ".corefile"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got); -update accepts it:\n%s", file, diff)
			}
		})
	}
}

func TestUpstreams(t *testing.T) {
	var many, fifteen strings.Builder
	for i := range 20 {
		fmt.Fprintf(&many, "nameserver 192.0.2.%d\n", i+1)
		if i < 15 {
			fmt.Fprintf(&fifteen, "192.0.2.%d:53 ", i+1)
		}
	}
	own := addresses("10.43.0.10", "fd00:43::a")
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"no server", "search example.org\noptions ndots:5\n", ""},
		{"order", "nameserver 192.0.2.2\nnameserver 192.0.2.1\n", "192.0.2.2:53 192.0.2.1:53"},
		{"no end of line", "nameserver 192.0.2.1", "192.0.2.1:53"},
		{"blanks", " \tnameserver\t 192.0.2.1 \r\n", "192.0.2.1:53"},
		{"comments", "# nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameserver 192.0.2.3 # third\n", "192.0.2.3:53"},
		{"duplicates", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.1\n", "192.0.2.1:53 192.0.2.2:53"},
		{"own addresses", "nameserver 10.43.0.10\nnameserver fd00:43::a\nnameserver 192.0.2.1\n", "192.0.2.1:53"},
		{"own address with a zone", "nameserver fd00:43::a%eth0\n", ""},
		{"IPv6", "nameserver 2001:db8::53\n", "[2001:db8::53]:53"},
		{"zone", "nameserver fe80::1%eth0\n", "[fe80::1%eth0]:53"},
		{"not addresses", "nameserver\nnameserver localhost\nnameserver 192.0.2.256\nnameservers 192.0.2.1\n", ""},
		{"more than fifteen", many.String(), strings.TrimSpace(fifteen.String())},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, u := range dns.Upstreams([]byte(c.text), own) {
				got = append(got, u.String())
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
		})
	}
}
