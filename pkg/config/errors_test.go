package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestErrors shows what a user reads about a wrong value. The labels of flags say where it was given.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--cluster-cidr=10.42.0.0", `--cluster-cidr: "10.42.0.0" is not a CIDR such as 10.42.0.0/16`},
		{"--cluster-cidr=10.42.0.1/16", `--cluster-cidr: "10.42.0.1/16" has bits set behind the prefix; write 10.42.0.0/16`},
		{"--cluster-cidr=10.40.0.0/14", `--cluster-cidr: 10.40.0.0/14 overlaps service-cidr 10.43.0.0/16 (default); pods and services need networks of their own`},
		{"--cluster-cidr=192.0.0.0/16", `node-ip (detected): 192.0.2.7 lies in cluster-cidr 192.0.0.0/16 (--cluster-cidr); choose another network for pods`},
		{"--service-cidr=192.0.2.0/24", `node-ip (detected): 192.0.2.7 lies in service-cidr 192.0.2.0/24 (--service-cidr); choose another network for services`},
		{"--cluster-cidr=10.42.0.0/25", `--cluster-cidr: 10.42.0.0/25 has no room for a node, which takes a /24 of it; use a /16 or larger`},
		{"--cluster-cidr=fd42::/40 --service-cidr=fd43::/112", `--cluster-cidr: fd42::/40 is too large; use a /48 or smaller`},
		{"--cluster-cidr=127.0.0.0/8", `--cluster-cidr: 127.0.0.0/8 overlaps 127.0.0.0/8, which is not for pods or services`},
		{"--cluster-cidr=10.42.0.0/16,10.44.0.0/16", `--cluster-cidr: 10.44.0.0/16 is a second IPv4 network; give one IPv4 and one IPv6 network at most`},
		{"--cluster-cidr=10.42.0.0/16,fd42::/56", `--cluster-cidr: fd42::/56 has no IPv6 counterpart in service-cidr; add one, or remove it`},
		{"--cluster-cidr=fd42::/56", `--cluster-cidr: fd42::/56 and service-cidr 10.43.0.0/16 (default) are of different IP families; give both in the same order`},
		{"--service-cidr=10.43.0.0/29", `--service-cidr: 10.43.0.0/29 is too small for the DNS service, which takes its tenth address; use a /28 or larger, or set --cluster-dns`},
		{"--cluster-dns=10.44.0.10", `--cluster-dns: 10.44.0.10 is outside of service-cidr 10.43.0.0/16 (default)`},
		{"--cluster-dns=10.43.0.1", `--cluster-dns: 10.43.0.1 is the first address of service-cidr 10.43.0.0/16 (default), which the API server takes; choose another of it`},
		{"--cluster-dns=10.43.0.0", `--cluster-dns: 10.43.0.0 is the address of the network 10.43.0.0/16 itself; choose another of it`},
		{"--cluster-dns=10.43.255.255", `--cluster-dns: 10.43.255.255 is the last address of service-cidr 10.43.0.0/16 (default), which is never given out; choose another of it`},
		{"--cluster-dns=dns", `--cluster-dns: "dns" is not an IP address`},
		{"--cluster-domain=a_b", `--cluster-domain: "a_b" is not a DNS domain`},
		{"--node-ip=127.0.0.1", `--node-ip: 127.0.0.1 is a loopback address; other machines have to reach this node at it`},
		{"--node-ip=fe80::1%eth0", `--node-ip: "fe80::1%eth0" has a zone; addresses of one link cannot be used`},
		{"--node-ip=2001:db8::1", `--node-ip: no IPv4 address is given, but there is cluster-cidr 10.42.0.0/16 (default)`},
		{"--node-ip=2001:db8::1,192.0.2.1", `--node-ip: 2001:db8::1 comes first, but cluster-cidr 10.42.0.0/16 (default) is IPv4; swap the addresses`},
		{"--node-ip=192.0.2.1,192.0.2.2", `--node-ip: 192.0.2.2 is a second IPv4 address; give one for each family`},
		{"--advertise-address=0.0.0.0", `--advertise-address: 0.0.0.0 stands for all addresses; pods and other machines have to reach the API server at it`},
		{"--advertise-address=2001:db8::1", `--advertise-address: 2001:db8::1 is not IPv4 like service-cidr 10.43.0.0/16 (default)`},
		{"--https-listen-port=0", `--https-listen-port: 0 is not a port; want 1 to 65535`},
		{"--https-listen-port=https", `--https-listen-port: "https" is not a whole number`},
		{"--write-kubeconfig-mode=rw", `--write-kubeconfig-mode: "rw" is not an octal file mode such as 0600`},
		{"--write-kubeconfig-mode=0444", `--write-kubeconfig-mode: "0444" does not let the owner read and write; use 0600 or 0640`},
		{"--write-kubeconfig=admin.conf", `--write-kubeconfig: "admin.conf" is not an absolute path`},
		{"--log-level=inof", `--log-level: "inof" is not known; did you mean info?`},
		{"--log-format=xml", `--log-format: "xml" is not known; want one of text, json`},
		{"--overlay-backend=hostgw", `--overlay-backend: "hostgw" is not known; did you mean host-gw?`},
		{"--proxy-mode=iptables", `--proxy-mode: "iptables" is not known; did you mean nftables?`},
		{"--proxy-scheduler=random", `--proxy-scheduler: "random" is not known; want one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos`},
		{"--nodeport-addresses=192.0.2.1", `--nodeport-addresses: "192.0.2.1" is neither a network such as 192.0.2.0/24 nor primary`},
		{"--nodeport-addresses=127.0.0.0/8", `--nodeport-addresses: 127.0.0.0/8 is of loopback addresses, which never answer node ports`},
		{"--nodeport-addresses=192.0.2.0/24,primary", `--nodeport-addresses: primary stands alone, and there are other values`},
		{"--disable=core-dns", `--disable: "core-dns" is not known; did you mean coredns?`},
		{"--disable-agent=perhaps", `--disable-agent: "perhaps" is not true or false`},
		{"--node-name=Edge", `--node-name: "Edge" is not a DNS name (a-z, 0-9, '-' and '.', beginning and ending with a letter or digit)`},
		{"--node-label=zone", `--node-label: "zone" is not key=value`},
		{"--node-label=node-role.kubernetes.io/edge=", `--node-label: "node-role.kubernetes.io/edge=": a node may not give itself labels of node-role.kubernetes.io; use kedge kubectl label, or a key below node.kubernetes.io`},
		{"--node-taint=a=b", `--node-taint: "a=b" is not key=value:effect`},
		{"--node-taint=a=b:noschedule", `--node-taint: "a=b:noschedule": the effect "noschedule" is not known; did you mean NoSchedule?`},
		{"--tls-san=a_b", `--tls-san: "a_b" is neither a DNS name nor an IP address`},
		{"--data-dir=data", `--data-dir: "data" is not an absolute path`},
		{"--data-dir=/", `--data-dir: the root directory cannot be the data directory; use one of its own, such as /var/lib/kedge`},
		{"--data-dir=/" + strings.Repeat("d", 71), `--data-dir: "/` + strings.Repeat("d", 71) + `" is too long by 2 bytes: the name of the socket /` + strings.Repeat("d", 71) + `/run/containerd/containerd.sock.ttrpc would have 109, and the kernel takes 107`},
		{"--datastore-endpoint=postgres://kedge:geheim@db/kedge", `--datastore-endpoint: this version keeps the cluster's state in its embedded etcd only; leave the option out`},
		{"--kubelet-arg=--v=2", `--kubelet-arg: "--v=2" begins with a dash; write v=2`},
		{"--etcd-arg=quota", `--etcd-arg: "quota" is not key=value`},
		{
			"--https-listen-port=70000 --cluster-dns=x --log-level=loud",
			"the configuration has 3 errors:\n" +
				"  --log-level: \"loud\" is not known; want one of debug, info, warn, error\n" +
				"  --cluster-dns: \"x\" is not an IP address\n" +
				"  --https-listen-port: 70000 is not a port; want 1 to 65535",
		},
	} {
		t.Run(c.args, func(t *testing.T) {
			s, _ := load(t, RoleServer, nil, nil, strings.Fields(c.args)...)
			_, err := Resolve(s, edge())
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAgentErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "server: an agent needs the address of a server; set --server https://host:6443"},
		{"--server=https://a:6443 --token=x --token-file=/t", `--token: token-file is given as well (--token-file); use one of them`},
		{"--token=x --server=a:6443", `--server: "a:6443" is not of the form https://host:6443`},
		{"--token=x --server=https://[2001:db8::1]", `--server: "https://[2001:db8::1]" has no port; write https://[2001:db8::1]:6443`},
	} {
		s, _ := load(t, RoleAgent, nil, nil, strings.Fields(c.args)...)
		_, err := Resolve(s, edge())
		if err == nil {
			t.Errorf("%s: accepted", c.args)
			continue
		}
		if diff := cmp.Diff(c.want, err.Error()); diff != "" {
			t.Errorf("%s: %s", c.args, diff)
		}
	}
}

// TestFileErrors shows what a user reads about a file that is wrong.
func TestFileErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"cluster-cdir: 10.1.0.0/16\n", `DIR/config.yaml:1: unknown key "cluster-cdir"; did you mean cluster-cidr?`},
		{"\nkubelet_args+: [v=1]\n", `DIR/config.yaml:2: unknown key "kubelet_args"; did you mean kubelet-arg?`},
		{"zzz: 1\n", `DIR/config.yaml:1: unknown key "zzz"; kedge config print shows all keys`},
		{"token: abc\n", `server: a token is given, which is for joining a cluster; set --server https://host:6443, or leave the token out`},
		{"config: /x\n", `DIR/config.yaml:1: config cannot be set in a file; use --config or KEDGE_CONFIG`},
		{"node-name: a\n#\nnode-name: b\n", `DIR/config.yaml:3: node-name: given a second time, first on line 1`},
		{"node-name+: a\n", `DIR/config.yaml:1: node-name+: only lists can be added to, and node-name takes one value; write node-name:`},
		{"https-listen-port: many\n", `DIR/config.yaml:1: https-listen-port: want a whole number, found the text "many"`},
		{"disable-agent: 1\n", `DIR/config.yaml:1: disable-agent: want true or false, found the number 1`},
		{"node-name: [a, b]\n", `DIR/config.yaml:1: node-name: want text, found a list`},
		{"tls-san:\n", `DIR/config.yaml:1: tls-san: want a list, each text, found nothing`},
		{"cluster-cidr:\n  pods: 10.0.0.0/8\n", `DIR/config.yaml:2: cluster-cidr: want a list, each a CIDR such as 10.42.0.0/16, found a mapping`},
		{"tls-san:\n- a.example\n- b_c\n", `DIR/config.yaml:3: tls-san: "b_c" is neither a DNS name nor an IP address`},
		{"- a\n", `DIR/config.yaml:1: want lines of the form key: value, found a list`},
		{"node-name: a\n---\nnode-name: b\n", `DIR/config.yaml:2: the file must hold one YAML document; remove what follows the first`},
		{"a: b: c\n", `DIR/config.yaml: not valid YAML: mapping values are not allowed in this context`},
		{"# nothing\n", ""},
		{"write-kubeconfig-mode: 0640\ncluster-cidr: [10.42.0.0/16]\n", ""},
	} {
		s, dir := load(t, RoleServer, map[string]string{"config.yaml": c.text}, nil)
		got := ""
		if _, err := Resolve(s, edge()); err != nil {
			got = strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.text, diff)
		}
	}
}

// TestOtherRole: an option of the other role is no unknown one.
func TestOtherRole(t *testing.T) {
	s, dir := load(t, RoleAgent, map[string]string{"config.yaml": "tls-san: [a]\n"}, nil, "--server=https://a:6443")
	_, err := Resolve(s, edge())
	want := dir + "/config.yaml:1: tls-san is an option of kedge server, not of kedge agent"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestMissingFile(t *testing.T) {
	s, err := LoadFile(RoleServer, "/nowhere/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Resolve(s, edge())
	if err == nil || err.Error() != "configuration file /nowhere/config.yaml does not exist" {
		t.Errorf("got %v", err)
	}
}
