package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNodePorts(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	services := []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16"), netip.MustParsePrefix("fd00:43::/112")}
	host := strings.Fields("127.0.0.1 169.254.1.1 10.43.0.10 10.42.0.0 192.0.2.1 198.51.100.7 ::1 fe80::1 fd00:43::a fd00:42::1 2001:db8::1")
	for _, c := range []struct{ values, want, cidrs string }{
		{"", "10.42.0.0 192.0.2.1 198.51.100.7 fd00:42::1 2001:db8::1", ""},
		{"primary", "192.0.2.1 2001:db8::1", "192.0.2.1/32 2001:db8::1/128"},
		{"198.51.100.9/24", "198.51.100.7 fd00:42::1 2001:db8::1", "198.51.100.0/24"},
		{"198.51.100.0/24 127.0.0.0/8 2001:db8::/64", "198.51.100.7 2001:db8::1", "198.51.100.0/24 127.0.0.0/8 2001:db8::/64"},
		{"0.0.0.0/0 203.0.113.0/24 2001:db8:1::/64", "10.42.0.0 192.0.2.1 198.51.100.7", "0.0.0.0/0 203.0.113.0/24 2001:db8:1::/64"},
	} {
		n, err := parseNodePorts(strings.Fields(c.values), own, services)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range host {
			if n.match(netip.MustParseAddr(a)) {
				got = append(got, a)
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.values, diff)
		}
		if got := strings.Join(n.cidrs(), " "); got != c.cidrs {
			t.Errorf("%q: networks %s, want %s", c.values, got, c.cidrs)
		}
	}
	_, err := parseNodePorts([]string{"192.0.2.1"}, own, services)
	want := `parse --nodeport-addresses: want networks such as 192.0.2.0/24, or primary alone: netip.ParsePrefix("192.0.2.1"): no '/'`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
