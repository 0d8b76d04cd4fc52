package registries

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files") //nolint:gochecknoglobals // a flag of the tests

func TestRender(t *testing.T) {
	pki := newPKI(t)
	file := write(t, filepath.Join(t.TempDir(), "registries.yaml"), strings.ReplaceAll(`
mirrors:
  docker.io:
    endpoint: [https://one.example.com, "http://two.example.com:5000/v2", https://three.example.com/v2/proxy, "localhost:5000"]
  "*":
    endpoint: [https://all.example.com]
    rewrite: {"(.*)": "all/$1"}
configs:
  registry-1.docker.io:
    auth: {username: u, password: secret}
  one.example.com:
    tls: {ca_file: PKI/ca.pem, cert_file: PKI/client.pem, key_file: PKI/client-key.pem}
  two.example.com:5000:
    tls: {insecure_skip_verify: true}
  "*":
    tls: {insecure_skip_verify: true}
`, "PKI", pki.dir))
	r, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	files, relayed := render(r.plan(), relayAddress{base: "http://127.0.0.1:1", key: []byte("x")})
	var b strings.Builder
	for _, name := range sortedKeys(files) {
		b.WriteString("== " + name + "\n" + strings.TrimPrefix(string(files[name]), mark))
	}
	for _, e := range relayed {
		b.WriteString("== relayed: " + e.url.String() + "\n")
	}
	got := strings.ReplaceAll(b.String(), pki.dir, "PKI")
	if *update {
		if err := os.WriteFile("testdata/render.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/render.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("files differ (-want +got):\n%s", diff)
	}
}

func TestRewrite(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "registries.yaml"), `
mirrors:
  docker.io:
    endpoint: [https://a]
    rewrite:
      "^library/(.*)": "official/$1"
      "^(rancher|k3s)/(.*)": "mirrored/$1-$2"
      "^library/busybox": "never"
`)
	r, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	e := r.plan()[0].endpoints[0]
	for name, want := range map[string]string{
		"library/busybox": "official/busybox",
		"rancher/pause":   "mirrored/rancher-pause",
		"other/name":      "other/name",
	} {
		if got := e.rewritten(name); got != want {
			t.Errorf("%s is rewritten to %s, want %s", name, got, want)
		}
	}
}

func TestWriteTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs.d")
	foreign := write(t, filepath.Join(dir, "foreign", hostsFile), "server = \"https://example.com\"\n")
	ours := func(names ...string) map[string][]byte {
		files := map[string][]byte{}
		for _, name := range names {
			files[name] = []byte(mark)
		}
		return files
	}
	for _, files := range []map[string][]byte{ours("a", "b:5000"), ours("a", "c"), ours("a", "c")} {
		if err := writeTree(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"a": true, "b:5000": false, "c": true, "foreign": true} {
		_, err := os.Stat(filepath.Join(dir, name, hostsFile))
		if got := err == nil; got != want {
			t.Errorf("%s exists: %v, want %v", name, got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "a", hostsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of hosts.toml is %v (%v), want 0600", info.Mode(), err)
	}
	if content, err := os.ReadFile(foreign); err != nil || !strings.Contains(string(content), "example.com") {
		t.Errorf("a foreign file was touched: %s, %v", content, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}
