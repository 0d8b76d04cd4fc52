package agent

import (
	"errors"
	"testing"
)

func TestChooseProxy(t *testing.T) {
	missing := errors.New("CONFIG_IP_VS is not set")
	for _, c := range []struct {
		asked  string
		lacks  error
		mode   string
		reason string
		err    string
	}{
		{"auto", nil, "ipvs", "the kernel has IPVS", ""},
		{"auto", missing, "nftables", "the kernel has no IPVS", ""},
		{"ipvs", nil, "ipvs", "--proxy-mode says so", ""},
		{"ipvs", missing, "", "", "serve services with IPVS, as --proxy-mode says (auto takes nftables instead): CONFIG_IP_VS is not set"},
		{"nftables", nil, "nftables", "--proxy-mode says so", ""},
		{"none", nil, "none", "--proxy-mode says so", ""},
	} {
		mode, reason, err := chooseProxy(c.asked, func() error {
			if c.asked == "nftables" || c.asked == "none" {
				t.Errorf("%s: the kernel is asked for IPVS", c.asked)
			}
			return c.lacks
		})
		said := ""
		if err != nil {
			said = err.Error()
		}
		if mode != c.mode || reason != c.reason || said != c.err {
			t.Errorf("%s, %v: %q, %q, %q", c.asked, c.lacks, mode, reason, said)
		}
	}
}
