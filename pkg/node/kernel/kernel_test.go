package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
}

func TestProbeThisKernel(t *testing.T) {
	needRoot(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	results, err := Probe(t.Context(), Features(Need{CgroupVersion: 2, Overlay: "vxlan", ProxyMode: "auto"}), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Logf("%-20s %-30s %v", r.Name, r.How, r.Err)
		if (r.Err == nil) != (r.How == "works") {
			t.Errorf("%s: %q, but %v", r.Name, r.How, r.Err)
		}
		if r.Required && r.Err != nil {
			t.Errorf("%s: %v", r.Name, r.Err)
		}
	}
	if after, err := os.Readlink("/proc/self/ns/net"); err != nil || after != before {
		t.Errorf("network namespace was %s and is %s, %v", before, after, err)
	}
}

// A feature that the kernel does not have must be found missing: a file system that does not exist stands for it.
func TestProbeMissing(t *testing.T) {
	needRoot(t)
	feature := Feature{Name: "x", Configs: []string{"CONFIG_KEDGE_NONE"}, Modules: []string{"kedge_none"}, Required: true,
		probe: filesystem("kedgefs")}
	for _, load := range []bool{false, true} {
		results, err := Probe(t.Context(), []Feature{feature}, load)
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if !errors.Is(r.Err, unix.ENODEV) || r.Loadable || !strings.HasPrefix(r.How, "missing") {
			t.Errorf("load %v: %+v", load, r)
		}
	}
}

// One rule that the kernel refuses must not hide that it takes the others.
func TestProbeRulesOneByOne(t *testing.T) {
	needRoot(t)
	features := []Feature{{Name: "ct", rule: nftCt()}, {Name: "bad", rule: filterRule(&expr.Masq{})}, {Name: "fib", rule: nftFib()}}
	results, err := Probe(t.Context(), features, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if (r.Err == nil) != (r.Name != "bad") {
			t.Errorf("%s: %v", r.Name, r.Err)
		}
	}
}

func TestExplain(t *testing.T) {
	m := parseModules("/lib/modules/x", sampleDep)
	for _, tt := range []struct {
		name     string
		config   config
		modules  *modules
		err      error
		how      string
		loadable bool
	}{
		{"configuration known", config{"CONFIG_VXLAN": "n"}, &modules{}, unix.EOPNOTSUPP, "missing, CONFIG_VXLAN=n", false},
		{"parent is off", config{"CONFIG_OTHER": "y"}, &modules{}, unix.EOPNOTSUPP, "missing, CONFIG_VXLAN=n", false},
		{"configuration unknown", config{}, &modules{}, unix.EOPNOTSUPP, "missing", false},
		{"module", config{"CONFIG_VXLAN": "m"}, m, unix.EOPNOTSUPP, "not loaded, module vxlan is there", true},
		{"not root", config{}, m, unix.EPERM, "not tried: needs root", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Result{Feature: Feature{Configs: []string{"CONFIG_VXLAN"}, Modules: []string{"vxlan"}}, Err: tt.err}
			r.describe(tt.modules, &tt.config)
			if r.How != tt.how || r.Loadable != tt.loadable {
				t.Errorf("got %q %v", r.How, r.Loadable)
			}
		})
	}
}

const sampleDep = `kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz kernel/net/ipv6/netfilter/nf_defrag_ipv6.ko.xz kernel/lib/libcrc32c.ko.xz
kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz kernel/net/netfilter/nf_conntrack.ko.xz kernel/lib/libcrc32c.ko.xz
kernel/net/netfilter/nf_conntrack.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/net/ipv6/netfilter/nf_defrag_ipv6.ko.xz:
kernel/lib/libcrc32c.ko.xz:
kernel/drivers/net/vxlan/vxlan.ko: kernel/net/ipv4/udp-tunnel.ko
kernel/net/ipv4/udp-tunnel.ko:
`

func TestModuleOrder(t *testing.T) {
	m := parseModules("/lib/modules/x", sampleDep)
	for name, want := range map[string][]string{
		"vxlan":    {"udp_tunnel", "vxlan"},
		"ip_vs_rr": {"libcrc32c", "nf_conntrack", "nf_defrag_ipv6", "ip_vs", "ip_vs_rr"},
	} {
		got, err := m.order(name)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(d, err)
		}
	}
	if _, err := m.order("wireguard"); err == nil || err.Error() != "load module wireguard: not found in modules.dep of the running kernel" {
		t.Errorf("got %v", err)
	}
}

func TestParseConfig(t *testing.T) {
	text := "#\n# Automatically generated\n#\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"x=y\"\n"
	file := filepath.Join(t.TempDir(), "config.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), os.WriteFile(file, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]string{"CONFIG_A": "y", "CONFIG_B": "m", "CONFIG_C": "n", "CONFIG_D": `"x=y"`, "CONFIG_E": "n"} {
		if got := c.value(option); got != want {
			t.Errorf("%s: got %q, want %q", option, got, want)
		}
	}
}

func TestDecompress(t *testing.T) {
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := io.WriteString(w, "module"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for extension, data := range map[string][]byte{".gz": gz.Bytes(), ".zst": zst.Bytes()} {
		if got, err := decompress(bytes.NewReader(data), extension); err != nil || string(got) != "module" {
			t.Errorf("%s: %q %v", extension, got, err)
		}
	}
	if _, err := decompress(bytes.NewReader(nil), ".xz"); err == nil || !strings.Contains(err.Error(), "load the module by hand") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkProbe(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root")
	}
	features := Features(Need{CgroupVersion: 1, Overlay: "vxlan", ProxyMode: "auto"})
	for b.Loop() {
		if _, err := Probe(b.Context(), features, true); err != nil {
			b.Fatal(err)
		}
	}
}
