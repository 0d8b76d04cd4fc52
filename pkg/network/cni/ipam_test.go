package cni

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestPool(t *testing.T) {
	tests := []struct {
		cidr  string
		steps string // "take", "-N" releases, "=N" asks for one, "+N" adopts; N is the last part of the address
		want  string
	}{
		{"10.42.7.0/29", "take take take take take take", "2 3 4 5 6 all addresses of pod CIDR 10.42.7.0/29 are in use (5 pods)"},
		{"10.42.7.0/29", "take take -2 take take take take", "2 3 4 5 6 2"},
		{"10.42.7.0/29", "=4 take take take =4 =7", "4 2 3 5 address 10.42.7.4 of pod CIDR 10.42.7.0/29 is in use or reserved address 10.42.7.7 of pod CIDR 10.42.7.0/29 is in use or reserved"},
		{"10.42.7.0/29", "+5 +3 take take take take", "4 6 2 all addresses of pod CIDR 10.42.7.0/29 are in use (5 pods)"},
		{"10.42.7.0/30", "take take", "2 all addresses of pod CIDR 10.42.7.0/30 are in use (1 pods)"},
		{"10.42.7.0/31", "", "pod CIDR 10.42.7.0/31 has no address for a pod: it needs a prefix length of at most 30"},
		{"fd00::/64", "take take -2 take", "2 3 4"},
		{"fd00::/126", "take take take", "2 3 all addresses of pod CIDR fd00::/126 are in use (2 pods)"},
	}
	for _, tt := range tests {
		t.Run(tt.cidr+" "+tt.steps, func(t *testing.T) {
			expect(t, strings.Join(runPool(tt.cidr, strings.Fields(tt.steps)), " "), tt.want)
		})
	}
}

func runPool(cidr string, steps []string) []string {
	p, err := newPool(netip.MustParsePrefix(cidr))
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	note := func(addr netip.Addr, err error) {
		if err != nil {
			out = append(out, err.Error())
			return
		}
		bytes := addr.AsSlice()
		out = append(out, fmt.Sprint(bytes[len(bytes)-1]))
	}
	for _, step := range steps {
		bytes := p.prefix.Addr().AsSlice()
		if step != "take" {
			_, _ = fmt.Sscan(step[1:], &bytes[len(bytes)-1])
		}
		addr, _ := netip.AddrFromSlice(bytes)
		switch step[0] {
		case 't':
			note(p.take())
		case '=':
			note(addr, p.takeThis(addr))
		case '+':
			p.adopt(addr)
		case '-':
			p.release(addr)
		}
	}
	return out
}
