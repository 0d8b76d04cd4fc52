package registries

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, file, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadReportsEverything(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"empty":        {file: ""},
		"comment":      {file: "# nothing yet\n"},
		"empty values": {file: "mirrors:\nconfigs:\n"},
		"no endpoint":  {file: "mirrors:\n  docker.io:\n"},
		"syntax":       {file: "mirrors: [", want: "parse FILE: yaml: line 1: did not find expected node content"},
		"not a mapping": {
			file: "- mirrors\n",
			want: "FILE:1: the file must be a mapping (key: value)",
		},
		"one": {
			file: "mirors: {}\n",
			want: `FILE:1: unknown key "mirors" in the file; did you mean mirrors?`,
		},
		"many": {
			file: `mirrors:
  docker.io:
    endpoints: ["https://a"]
    rewrite:
      "(": x
  https://example.com:
    endpoint: https://a
  example.com:
    endpoint: ["ftp://a", "https://user:secret@a b", "https://user:secret@a", "https://a?x", "https://"]
  example.com: {}
configs:
  "*":
    auth: {username: u, password: secret}
  a:
    auth: {username: u}
  b:
    auth: {}
  c:
    auth: {auth: "c2VjcmV0"}
    tlss: {}
  d:
    tls: {ca_file: ca.pem}
  e:
    tls: {ca_file: /does/not/exist}
  f:
    tls: {cert_file: /x, insecure_skip_verify: maybe}
  g/v2:
    quota: 1
`,
			want: `the configuration has 22 errors:
  FILE:3: unknown key "endpoints" in mirror "docker.io"; did you mean endpoint?
  FILE:5: rewrite: error parsing regexp: missing closing ): ` + "`(`" + `
  FILE:2: mirror "docker.io" rewrites names for no endpoint: rewrites apply to the endpoints listed, never to the registry itself; add endpoint
  FILE:6: mirror "https://example.com" must be named host or host:port, without scheme and path, or "*"
  FILE:7: endpoint of mirror "https://example.com" must be a list of URLs
  FILE:9: endpoint "ftp://a" of mirror "example.com" has the scheme ftp; possible are https and http
  FILE:9: an endpoint of mirror "example.com" is not a URL such as https://registry.example.com:5000
  FILE:9: an endpoint of mirror "example.com" must not hold credentials: put them under configs
  FILE:9: endpoint "https://a?x" of mirror "example.com" must not have a query or fragment
  FILE:9: endpoint "https://" of mirror "example.com" is not a URL such as https://registry.example.com:5000
  FILE:10: "example.com" is there twice
  FILE:12: config "*" must not have auth: whoever names an image could make kedge send it to any server; name the registry
  FILE:15: auth of config "a" needs both username and password
  FILE:17: auth of config "b" needs username and password, auth or identity_token
  FILE:19: auth of config "c" is not the base64 form of user:password
  FILE:20: unknown key "tlss" in config "c"; did you mean tls?
  FILE:22: tls of config "d": ca.pem must be an absolute path
  FILE:24: tls of config "e": read ca_file: open /does/not/exist: no such file or directory
  FILE:26: insecure_skip_verify of config "f" must be true or false
  FILE:26: tls of config "f": cert_file and key_file belong together
  FILE:27: config "g/v2" must be named host or host:port, without scheme and path, or "*"
  FILE:28: unknown key "quota" in config "g/v2"; known are auth, tls`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, filepath.Join(t.TempDir(), "registries.yaml"), c.file)
			_, err := Load(file)
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), file, "FILE")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("error differs (-want +got):\n%s", diff)
			}
			if strings.Contains(got, "secret") {
				t.Error("the error tells a secret")
			}
		})
	}
}

func TestLoadWithoutFile(t *testing.T) {
	r, err := Load(filepath.Join(t.TempDir(), "registries.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.plan(); len(got) != 0 {
		t.Errorf("plan without a file has %d registries", len(got))
	}
}
