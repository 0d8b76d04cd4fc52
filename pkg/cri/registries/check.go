package registries

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) settings(key, n *yaml.Node) Settings {
	var s Settings
	what := fmt.Sprintf("config %q", key.Value)
	d.checkHost(key, what)
	d.fields(n, what, map[string]func(*yaml.Node){
		"auth": func(n *yaml.Node) { s.Auth = d.auth(n, what) },
		"tls":  func(n *yaml.Node) { s.TLS = d.tls(n, what) },
	})
	if s.Auth != nil && key.Value == wildcard {
		d.fail(key, "%s must not have auth: whoever names an image could make kedge send it to any server; name the registry", what)
	}
	return s
}

func (d *decoder) checkHost(key *yaml.Node, what string) {
	if key.Value == wildcard {
		return
	}
	u, err := url.Parse("//" + key.Value)
	if err != nil || u.Host != key.Value || u.Hostname() == "" {
		d.fail(key, `%s must be named host or host:port, without scheme and path, or "*"`, what)
	}
}

func (d *decoder) auth(n *yaml.Node, what string) *Auth {
	var a Auth
	var encoded string
	d.fields(n, "auth of "+what, map[string]func(*yaml.Node){
		"username":       d.text("username of "+what, &a.Username),
		"password":       d.text("password of "+what, &a.Password),
		"auth":           d.text("auth of "+what, &encoded),
		"identity_token": d.text("identity_token of "+what, &a.IdentityToken),
	})
	switch {
	case a.Username != "" && a.Password != "":
		a.IdentityToken = ""
	case a.Username != "" || a.Password != "":
		d.fail(n, "auth of %s needs both username and password", what)
	case a.IdentityToken != "":
	case encoded != "":
		decoded, err := decodeAuth(encoded)
		if err != nil {
			d.fail(n, "auth of %s %v", what, err)
		}
		a = decoded
	default:
		d.fail(n, "auth of %s needs username and password, auth or identity_token", what)
	}
	return &a
}

func (d *decoder) tls(n *yaml.Node, what string) *TLS {
	var t TLS
	d.fields(n, "tls of "+what, map[string]func(*yaml.Node){
		"ca_file":              d.text("ca_file of "+what, &t.CAFile),
		"cert_file":            d.text("cert_file of "+what, &t.CertFile),
		"key_file":             d.text("key_file of "+what, &t.KeyFile),
		"insecure_skip_verify": d.boolean("insecure_skip_verify of "+what, &t.InsecureSkipVerify),
	})
	if _, err := t.config(); err != nil {
		d.fail(n, "tls of %s: %v", what, err)
	}
	return &t
}

// config reads the files.
func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: t.InsecureSkipVerify} //nolint:gosec // the administrator asked for it
	for _, file := range []string{t.CAFile, t.CertFile, t.KeyFile} {
		if file != "" && !filepath.IsAbs(file) {
			return nil, fmt.Errorf("%s must be an absolute path", file)
		}
	}
	if t.CAFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("load the system's certificates: %w", err)
		}
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s has no certificate in PEM format", t.CAFile)
		}
		c.RootCAs = pool
	}
	switch {
	case t.CertFile != "" && t.KeyFile != "":
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	case t.CertFile != "" || t.KeyFile != "":
		return nil, errors.New("cert_file and key_file belong together")
	}
	return c, nil
}

// parseEndpoint reads a mirror's URL. Its path is the root of the API: /v2 when there is none.
func parseEndpoint(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = defaultScheme(text) + "://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("is not a URL such as https://registry.example.com:5000")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("has the scheme %s; possible are https and http", u.Scheme)
	case u.User != nil:
		return nil, errors.New("must not hold credentials: put them under configs")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must not have a query or fragment")
	}
	u.Path = path.Clean("/" + u.Path)
	if u.Path == "/" {
		u.Path = apiRoot
	}
	return u, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func enumerate(names []string) string { return strings.Join(names, ", ") }
