package server

import (
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/config"
	"kedge/pkg/pki"
)

var update = flag.Bool("update", false, "write testdata anew") //nolint:gochecknoglobals // a flag of the test

func TestToFlags(t *testing.T) {
	got := toFlags(map[string]string{"b": "x=y,z", "a": ""})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"--a=", "--b=x=y,z"}, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestCommas(t *testing.T) {
	addresses := []netip.Addr{netip.MustParseAddr("10.43.0.10"), netip.MustParseAddr("fd00:43::a")}
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd00:42::/56")}
	for got, want := range map[string]string{
		commas(addresses):         "10.43.0.10,fd00:43::a",
		commas(prefixes):          "10.42.0.0/16,fd00:42::/56",
		commas(prefixes[:1]):      "10.42.0.0/16",
		commas([]netip.Addr(nil)): "",
	} {
		if got != want {
			t.Errorf("joined %q, want %q", got, want)
		}
	}
}

func TestLocalURL(t *testing.T) {
	for address, want := range map[string]string{
		"":            "https://127.0.0.1:6443",
		"0.0.0.0":     "https://127.0.0.1:6443",
		"::":          "https://127.0.0.1:6443",
		"192.0.2.1":   "https://192.0.2.1:6443",
		"2001:db8::1": "https://[2001:db8::1]:6443",
	} {
		s := &server{cfg: &config.Config{HTTPSListenPort: 6443}}
		if address != "" {
			s.cfg.BindAddress = netip.MustParseAddr(address)
		}
		if got := s.localURL(); got != want {
			t.Errorf("bound to %q: %s, want %s", address, got, want)
		}
	}
}

// TestAPIServerFlags keeps a page of what the API server is told: mutual TLS to etcd, to kubelets and for clients, who may do
// what, and what is switched off.
func TestAPIServerFlags(t *testing.T) {
	dir := t.TempDir()
	cfg := &config.Config{
		NodeName: "a", NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Layout: config.NewLayout("/srv/kedge"),
		AdvertiseAddress: netip.MustParseAddr("192.0.2.1"), BindAddress: netip.MustParseAddr("192.0.2.1"), HTTPSListenPort: 6443,
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16")}, ClusterDomain: "cluster.local",
	}
	log := slog.New(slog.DiscardHandler)
	store, err := pki.Ensure(t.Context(), pki.Options{
		ServerDir: filepath.Join(dir, "server", "tls"), AgentDir: filepath.Join(dir, "agent", "tls"), Log: log,
		Leaves: pki.ServerLeaves(pki.Params{
			NodeName: "a", NodeIPs: cfg.NodeIPs, ServiceIPs: cfg.FirstServiceIPs(), ClusterDomain: "cluster.local", APIServer: "https://127.0.0.1:6443",
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	flags := (&server{cfg: cfg, log: log, certificates: store}).apiserverFlags()
	slices.Sort(flags)
	got := strings.ReplaceAll(strings.Join(flags, "\n")+"\n", dir, "/srv/kedge")
	const file = "testdata/apiserver.flags"
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
}
