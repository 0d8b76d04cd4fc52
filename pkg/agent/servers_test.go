package agent

import (
	"net/netip"
	"testing"

	"kedge/pkg/config"
)

func TestKubeletAddress(t *testing.T) {
	for _, c := range []struct {
		ip, want string
		args     []config.Arg
	}{
		{"192.0.2.1", "192.0.2.1:10250", nil},
		{"2001:db8::1", "[2001:db8::1]:10250", []config.Arg{{Key: "address", Value: "::"}}},
		{"192.0.2.1", "127.0.0.1:10251", []config.Arg{{Key: "max-pods", Value: "5"}, {Key: "port", Value: "10251"}, {Key: "address", Value: "127.0.0.1"}}},
	} {
		cfg := &config.Config{NodeIPs: []netip.Addr{netip.MustParseAddr(c.ip)}, KubeletArgs: c.args}
		if got := kubeletAddress(cfg); got != c.want {
			t.Errorf("%s with %v: %s, want %s", c.ip, c.args, got, c.want)
		}
	}
}
