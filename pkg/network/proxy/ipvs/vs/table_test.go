package vs

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tableText = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A2B0001:0050 rr 
  -> 0A2A0002:1F90      Masq    1      0          0         
  -> 0A2A0001:1F90      Masq    0      3          12        
UDP  0A2B0001:0035 lc ops 
SCTP [fd43:0000:0000:0000:0000:0000:0000:0001]:0050 rr persistent 10800 128
  -> [fd42:0000:0000:0000:0000:0000:0000:0001]:1F90      Masq    1      0          0         
FWM  00004800 mh 
  -> 0A2A0002:1F90      Masq    1      0          0         
`

func TestParseTable(t *testing.T) {
	at := netip.MustParseAddrPort
	want := map[ID][]Dest{
		{Protocol: 6, AddrPort: at("10.43.0.1:80")}:             {{AddrPort: at("10.42.0.2:8080"), Weight: 1}, {AddrPort: at("10.42.0.1:8080"), Active: 3, Inactive: 12}},
		{Protocol: 17, AddrPort: at("10.43.0.1:53")}:            nil,
		{V6: true, Protocol: 132, AddrPort: at("[fd43::1]:80")}: {{AddrPort: at("[fd42::1]:8080"), Weight: 1}},
		{Mark: 0x4800}: {{AddrPort: at("10.42.0.2:8080"), Weight: 1}},
	}
	got, err := parseTable(strings.NewReader(tableText))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, text := range map[string]string{
		"no port":    "TCP  0A2B0001 rr\n",
		"no address": "TCP  0A2B00:0050 rr\n",
		"no weight":  "TCP  0A2B0001:0050 rr\n  -> 0A2A0002:1F90 Masq x 0 0\n",
	} {
		if _, err := parseTable(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), "read table of virtual servers: line ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
