package registries

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// logs collects what the component logs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const blobs = 4 // of the images that push makes: manifest, configuration, two layers

func TestPull(t *testing.T) {
	pki := newPKI(t)
	https := func() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{pki.server}} }
	mutual := func() *tls.Config {
		c := https()
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pki.pool
		return c
	}
	for name, c := range map[string]struct {
		tls    func() *tls.Config
		guard  guard
		yaml   string // HOST is the server, PKI the directory of certificates
		ref    string // optional: HOST/team/app:1
		secret string // optional: user:password, a pod's pull secret
		want   string // optional: part of the error
	}{
		"nothing configured":  {},
		"CA":                  {tls: https, yaml: `configs: {"HOST": {tls: {ca_file: PKI/ca.pem}}}`},
		"insecure":            {tls: https, yaml: `configs: {"HOST": {tls: {insecure_skip_verify: true}}}`},
		"all insecure":        {tls: https, yaml: `configs: {"*": {tls: {insecure_skip_verify: true}}}`},
		"client certificate":  {tls: mutual, yaml: `configs: {"HOST": {tls: {ca_file: PKI/ca.pem, cert_file: PKI/client.pem, key_file: PKI/client-key.pem}}}`},
		"without certificate": {tls: mutual, yaml: `configs: {"HOST": {tls: {ca_file: PKI/ca.pem}}}`, want: "certificate required"},
		"unknown CA": {
			tls: https, ref: "registry.test/team/app:1", yaml: `mirrors: {registry.test: {endpoint: ["https://HOST"]}}`, want: "unknown authority",
		},
		"mirror with CA": {
			tls: https, ref: "registry.test/team/app:1",
			yaml: `{mirrors: {registry.test: {endpoint: ["https://HOST"]}}, configs: {"HOST": {tls: {ca_file: PKI/ca.pem}}}}`,
		},
		"basic":        {guard: basic("me", "hidden"), yaml: `configs: {"HOST": {auth: {username: me, password: hidden}}}`},
		"basic, coded": {guard: basic("me", "hidden"), yaml: `configs: {"HOST": {auth: {auth: bWU6aGlkZGVu}}}`},
		"basic, TLS, client certificate": {
			tls: mutual, guard: basic("me", "hidden"),
			yaml: `configs: {"HOST": {auth: {username: me, password: hidden}, tls: {ca_file: PKI/ca.pem, cert_file: PKI/client.pem, key_file: PKI/client-key.pem}}}`,
		},
		"basic, refused":     {guard: basic("me", "other"), yaml: `configs: {"HOST": {auth: {username: me, password: hidden}}}`, want: "pull access denied"},
		"basic, pull secret": {guard: basic("me", "other"), yaml: `configs: {"HOST": {auth: {username: me, password: hidden}}}`, secret: "me:other"},
		"token": {
			guard: bearer(t, "team/app", 100, password("me", "hidden")), yaml: `configs: {"HOST": {auth: {username: me, password: hidden}}}`,
		},
		"token, short-lived": {
			guard: bearer(t, "team/app", 2, password("me", "hidden")), yaml: `configs: {"HOST": {auth: {username: me, password: hidden}}}`,
		},
		"token, identity": {guard: bearer(t, "team/app", 100, refreshToken("hidden")), yaml: `configs: {"HOST": {auth: {identity_token: hidden}}}`},
		"token, refused": {
			guard: bearer(t, "team/app", 100, nobody), yaml: `configs: {"HOST": {auth: {username: me, password: hidden}}}`, want: "401 Unauthorized",
		},
		"token, pull secret": {
			guard: bearer(t, "team/app", 100, password("me", "other")), yaml: `configs: {"HOST": {auth: {username: me, password: hidden}}}`, secret: "me:other",
		},
		"rewrite": {
			ref:  "registry.test/old/app:1",
			yaml: `mirrors: {registry.test: {endpoint: ["http://HOST"], rewrite: {"^old/(.*)$": "team/$1"}}}`,
		},
		"rewrite, token without credentials": {
			ref: "registry.test/old/app:1", guard: bearer(t, "team/app", 100, func(*http.Request) bool { return true }),
			yaml: `mirrors: {registry.test: {endpoint: ["http://HOST"], rewrite: {"^old/(.*)$": "team/$1"}}}`,
		},
		"rewrite, token, TLS, all registries": {
			ref: "registry.test/app:1", tls: https, guard: bearer(t, "team/app", 100, password("me", "hidden")),
			yaml: `{mirrors: {"*": {endpoint: ["https://HOST"], rewrite: {"(.*)": "team/$1"}}}, configs: {"HOST": {auth: {username: me, password: hidden}, tls: {ca_file: PKI/ca.pem}}}}`,
		},
		"rewrite, pull secret": {
			ref: "registry.test/old/app:1", guard: basic("me", "other"), secret: "me:other",
			yaml: `mirrors: {registry.test: {endpoint: ["http://HOST"], rewrite: {"^old/(.*)$": "team/$1"}}}`,
		},
		"path of API": {
			ref:  "registry.test/app:1",
			yaml: `mirrors: {registry.test: {endpoint: ["http://HOST/v2/team"]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var config *tls.Config
			if c.tls != nil {
				config = c.tls()
			}
			s := newServer(t, config, c.guard, "team/app")
			fill := strings.NewReplacer("HOST", s.host, "PKI", pki.dir)
			out := &logs{}
			dir := start(t, fill.Replace(c.yaml), out)
			ref := c.ref
			if ref == "" {
				ref = "HOST/team/app:1"
			}
			got, err := pull(t.Context(), dir, fill.Replace(ref), func(string) (string, string, error) {
				user, password, _ := strings.Cut(c.secret, ":")
				return user, password, nil
			})
			switch {
			case c.want == "" && err != nil:
				t.Fatalf("pull: %v\nlog: %s", err, out)
			case c.want == "" && got != blobs:
				t.Errorf("pulled %d blobs, want %d", got, blobs)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if strings.Contains(out.String(), "hidden") || err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("a secret was told: %v\n%s", err, out)
			}
		})
	}
}

// The endpoints are asked in order, then the registry itself; mirrors learn which registry was meant.
func TestPullOrder(t *testing.T) {
	first, second, origin := newServer(t, nil, nil), newServer(t, nil, nil, "two"), newServer(t, nil, nil, "three")
	dir := start(t, `mirrors: {"`+origin.host+`": {endpoint: ["http://`+first.host+`", "http://`+second.host+`"], rewrite: {"none": ""}}}`, &logs{})
	for _, repository := range []string{"two", "three"} {
		if _, err := pull(t.Context(), dir, origin.host+"/"+repository+":1", nil); err != nil {
			t.Errorf("pull %s: %v", repository, err)
		}
	}
	ns := "?ns=" + strings.ReplaceAll(origin.host, ":", "%3A")
	for s, want := range map[*server][]string{
		first:  {"HEAD /v2/two/manifests/1" + ns + " Not Found", "HEAD /v2/three/manifests/1" + ns + " Not Found"},
		second: {"HEAD /v2/two/manifests/1" + ns + " OK", "HEAD /v2/three/manifests/1" + ns + " Not Found"},
		origin: {"HEAD /v2/three/manifests/1 OK"},
	} {
		if got := s.heads(); !slices.Equal(got, want) {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
}

// Other users of the machine can reach the relay, but it does not answer them.
func TestRelayAnswersOnlyContainerd(t *testing.T) {
	s := newServer(t, nil, nil, "team/app")
	l := &logs{}
	dir := start(t, `configs: {"`+s.host+`": {auth: {username: me, password: hidden}}}`, l)
	address := relayURL(t, dir)
	for path, want := range map[string]int{
		"/0/v2/team/app/manifests/1": http.StatusForbidden,
		"/1/v2/team/app/manifests/1": http.StatusNotFound,
		"/":                          http.StatusNotFound,
	} {
		resp, err := http.Get(address + path) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: %s, want %d", path, resp.Status, want)
		}
	}
}
