package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAdopt: an agent takes the cluster's values, and refuses to start with others.
func TestAdopt(t *testing.T) {
	v4 := map[string]string{
		"cluster-cidr": "10.1.0.0/16", "service-cidr": "10.2.0.0/16", "cluster-dns": "10.2.0.10", "cluster-domain": "edge.example",
		"overlay-backend": "host-gw", "of-a-newer-server": "x",
	}
	dual := map[string]string{
		"cluster-cidr": "fd42::/56,10.42.0.0/16", "service-cidr": "fd43::/112,10.43.0.0/16", "cluster-dns": "fd43::a,10.43.0.10", "cluster-domain": "cluster.local",
	}
	for _, c := range []struct {
		name    string
		cluster map[string]string
		flags   []string
		want    string
	}{
		{"nothing is given here", v4, nil, "10.1.0.0/16; 10.2.0.0/16; 10.2.0.10; edge.example; host-gw; 192.0.2.7"},
		{"the same is given here", v4, []string{"--cluster-cidr=10.1.0.0/16", "--overlay-backend=host-gw"}, "10.1.0.0/16; 10.2.0.0/16; 10.2.0.10; edge.example; host-gw; 192.0.2.7"},
		{"two families", dual, nil, "fd42::/56 10.42.0.0/16; fd43::/112 10.43.0.0/16; fd43::a 10.43.0.10; cluster.local; ; 2001:db8::7 192.0.2.7"},
		{"other values", v4, []string{"--cluster-cidr=10.42.0.0/16", "--overlay-backend=vxlan"}, "the configuration has 2 errors:\n" +
			`  --cluster-cidr: "10.42.0.0/16" is given here and the cluster has "10.1.0.0/16"; leave the option out` + "\n" +
			`  --overlay-backend: "vxlan" is given here and the cluster has "host-gw"; leave the option out`},
		{"the address of a pod", v4, []string{"--node-ip=10.1.0.7"}, `--node-ip: 10.1.0.7 lies in cluster-cidr 10.1.0.0/16 (the cluster); choose another network for pods`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := load(t, RoleAgent, nil, nil, append([]string{"--server=https://192.0.2.1:6443"}, c.flags...)...)
			first, adopt, err := Joining(s, edge())
			if err != nil {
				t.Fatal(err)
			}
			if len(c.flags) == 0 && (len(first.ClusterCIDRs) > 0 || first.OverlayBackend != "") {
				t.Errorf("before the cluster is known: %+v", first)
			}
			got := ""
			if cfg, err := adopt(c.cluster); err != nil {
				got = err.Error()
			} else {
				got = strings.Join([]string{
					strings.Join(each(cfg.ClusterCIDRs), " "), strings.Join(each(cfg.ServiceCIDRs), " "), strings.Join(each(cfg.ClusterDNS), " "),
					cfg.ClusterDomain, cfg.OverlayBackend, strings.Join(each(cfg.NodeIPs), " "),
				}, "; ")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
