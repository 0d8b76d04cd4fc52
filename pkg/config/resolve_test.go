package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type machine struct {
	name  string
	addrs []string
	err   error
}

func (m machine) Hostname() (string, error) { return m.name, m.err }

func (m machine) Addresses() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range m.addrs {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, m.err
}

func edge() machine { return machine{name: "Edge-1", addrs: []string{"192.0.2.7", "2001:db8::7"}} }

// flags turns "--name=value" arguments into values.
func flags(t *testing.T, args ...string) []Value {
	t.Helper()
	var out []Value
	for _, a := range args {
		name, value, ok := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if !ok {
			t.Fatalf("flag %q has no value", a)
		}
		out = append(out, FlagValue(name, value))
	}
	return out
}

// load writes files into a directory of its own and loads them with the environment and the flags.
// Errors show the directory as DIR.
func load(t *testing.T, role Role, files, env map[string]string, args ...string) (Sources, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var values []Value
	if len(files) > 0 {
		values = append(values, FlagValue("config", filepath.Join(dir, "config.yaml")))
	}
	values = append(values, flags(t, args...)...)
	s, err := Load(role, values, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestDefaults(t *testing.T) {
	s, _ := load(t, RoleServer, nil, nil)
	got, err := Resolve(s, edge())
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Role:                RoleServer,
		Layout:              Layout{DataDir: "/var/lib/kedge", RunDir: "/run/kedge", KubeletDir: "/var/lib/kubelet"},
		ConfigFile:          "/etc/kedge/config.yaml",
		NodeName:            "edge-1",
		NodeIPs:             []netip.Addr{netip.MustParseAddr("192.0.2.7")},
		BindAddress:         netip.MustParseAddr("0.0.0.0"),
		HTTPSListenPort:     6443,
		AdvertiseAddress:    netip.MustParseAddr("192.0.2.7"),
		ClusterCIDRs:        []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")},
		ServiceCIDRs:        []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16")},
		ClusterDNS:          []netip.Addr{netip.MustParseAddr("10.43.0.10")},
		ClusterDomain:       "cluster.local",
		OverlayBackend:      "vxlan",
		ProxyMode:           "auto",
		ProxyScheduler:      "rr",
		LogLevel:            "info",
		LogFormat:           "text",
		WriteKubeconfig:     "/etc/kedge/kubeconfig.yaml",
		WriteKubeconfigMode: 0o600,
		RegistriesFile:      "/etc/kedge/registries.yaml",
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if got, want := got.FirstServiceIPs(), netip.MustParseAddr("10.43.0.1"); len(got) != 1 || got[0] != want {
		t.Errorf("FirstServiceIPs() = %v, want [%s]", got, want)
	}
}

func TestDualStack(t *testing.T) {
	s, _ := load(t, RoleServer, nil, nil, "--data-dir=/data", "--cluster-cidr=fd42::/56,10.42.0.0/16", "--service-cidr=fd43::/112,10.43.0.0/16", "--disable=coredns")
	got, err := Resolve(s, edge())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join([]string{
		strings.Join(each(got.NodeIPs), " "), strings.Join(each(got.ClusterDNS), " "), strings.Join(each(got.FirstServiceIPs()), " "),
		got.AdvertiseAddress.String(), got.BindAddress.String(), got.Layout.RunDir, got.Layout.KubeletDir,
	}, "\n")
	if diff := cmp.Diff("2001:db8::7 192.0.2.7\nfd43::a 10.43.0.10\nfd43::1 10.43.0.1\n2001:db8::7\n::\n/data/run\n/data/kubelet", text); diff != "" {
		t.Error(diff)
	}
	if !got.Disabled("coredns") || got.Disabled("servicelb") {
		t.Errorf("Disabled does not follow %v", got.Disable)
	}
}

// TestPrecedence shows one option given in each place: the later place wins, and key+ adds to what was before.
func TestPrecedence(t *testing.T) {
	files := map[string]string{
		"config.yaml":             "node-name: main\nlog-level: debug\ntls-san: [a.example, b.example]\nkubelet-arg:\n  - v=1\n",
		"config.yaml.d/10-a.yaml": "node-name: ten\ntls-san+: c.example\n",
		"config.yaml.d/20-b.yaml": "tls-san+:\n- d.example\nkubelet-arg+: feature-gates=A=true,B=false\ncluster-domain: twenty\n",
		"config.yaml.d/README":    "not read",
	}
	env := map[string]string{"KEDGE_NODE_NAME": "env", "KEDGE_CLUSTER_DOMAIN": "env", "KEDGE_ETCD_ARG": "a=1,2\nb=3", "KEDGE_LOG_LEVEL": ""}
	s, dir := load(t, RoleServer, files, env, "--cluster-domain=flag")
	settings, err := Settings(s, edge())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range settings {
		if x.Origin != "default" && x.Origin != "detected" && x.Name != "config" {
			got = append(got, x.Name+" = "+strings.Join(x.Values, " ")+" # "+strings.ReplaceAll(x.Origin, dir, "DIR"))
		}
	}
	want := []string{
		"log-level = debug # DIR/config.yaml:2",
		"node-name = env # KEDGE_NODE_NAME",
		"tls-san = a.example b.example c.example d.example # DIR/config.yaml:3, DIR/config.yaml.d/10-a.yaml:2, DIR/config.yaml.d/20-b.yaml:2",
		"cluster-domain = flag # --cluster-domain",
		"kubelet-arg = v=1 feature-gates=A=true,B=false # DIR/config.yaml:5, DIR/config.yaml.d/20-b.yaml:3",
		"etcd-arg = a=1,2 b=3 # KEDGE_ETCD_ARG",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.Text("node-name"); got != "env" {
		t.Errorf("Text(node-name) = %q", got)
	}
}

func TestDetectionFails(t *testing.T) {
	s, _ := load(t, RoleServer, nil, nil)
	_, err := Resolve(s, machine{name: "edge"})
	want := "node-ip: no usable IPv4 address on a network link that is up; give the machine an address or set --node-ip"
	var wrong *InvalidError
	if err == nil || err.Error() != want || !errors.Is(err, ErrDetect) || !errors.As(err, &wrong) || wrong.WrongUse() {
		t.Errorf("got %v", err)
	}
	_, err = Resolve(s, machine{name: "edge_1", addrs: []string{"192.0.2.7"}})
	want = `node-name (detected): "edge_1" is the machine's host name and is not a DNS name (a-z, 0-9, '-' and '.', beginning and ending with a letter or digit); set --node-name`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSecrets(t *testing.T) {
	s, _ := load(t, RoleAgent, nil, nil, "--token=abc", "--server=https://10.0.0.1:6443")
	settings, err := Settings(s, edge())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range settings {
		if x.Name == "token" && x.Values[0] != "***" {
			t.Errorf("the token is shown: %v", x.Values)
		}
	}
	for in, want := range map[string]string{
		"postgres://kedge:geheim@db:5432/k": "postgres://kedge:***@db:5432/k",
		"mysql://u:p@x@tcp(db:3306)/k":      "mysql://u:***@tcp(db:3306)/k",
		"sqlite:///var/lib/k.db":            "sqlite:///var/lib/k.db",
	} {
		if got := hidePassword(in); got != want {
			t.Errorf("hidePassword(%q) = %q, want %q", in, got, want)
		}
	}
}
