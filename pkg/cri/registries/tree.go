package registries

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"kedge/pkg/durable"
)

const (
	hostsFile = "hosts.toml"
	mark      = "# Written by kedge from registries.yaml at every start.\n"
	// secretHeader proves to the relay that containerd asks.
	secretHeader = "X-Kedge-Relay"
)

// relayAddress is where containerd finds the relay; the zero value when there is none.
type relayAddress struct {
	base string // http://127.0.0.1:port
	key  []byte
}

func (a relayAddress) url(id int) string { return fmt.Sprintf("%s/%d%s", a.base, id, apiRoot) }

// secret is another for each endpoint, because containerd shows it to the authorisation server of that endpoint, too.
func (a relayAddress) secret(id int) string {
	mac := hmac.New(sha256.New, a.key)
	mac.Write(strconv.AppendInt(nil, int64(id), 10))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// render returns the content of each registry's hosts.toml by directory, and the endpoints that the relay has to
// serve, by the number that their URL has.
func render(hosts []host, relay relayAddress) (map[string][]byte, []endpoint) {
	files := map[string][]byte{}
	var relayed []endpoint
	for _, h := range hosts {
		var b bytes.Buffer
		b.WriteString(mark)
		if h.origin != nil {
			relayed = renderEndpoint(&b, *h.origin, relay, relayed, "server = %s\n")
		}
		for _, e := range h.endpoints {
			relayed = renderEndpoint(&b, e, relay, relayed, "\n[host.%s]\n")
		}
		files[h.name] = b.Bytes()
	}
	return files, relayed
}

// renderEndpoint prints one server; begin places its URL.
func renderEndpoint(b *bytes.Buffer, e endpoint, relay relayAddress, relayed []endpoint, begin string) []endpoint {
	const capabilities = "capabilities = [\"pull\", \"resolve\", \"referrers\"]\n"
	if e.relayed() {
		fmt.Fprintf(b, begin, quote(relay.url(len(relayed))))
		b.WriteString(capabilities)
		fmt.Fprintf(b, "header = { %s = %s }\n", secretHeader, quote(relay.secret(len(relayed))))
		return append(relayed, e)
	}
	if e.url != nil {
		fmt.Fprintf(b, begin, quote(e.url.String()))
		if strings.Contains(begin, "[") {
			b.WriteString(capabilities) // nobody pushes to a mirror
		}
		if e.url.Path != apiRoot {
			b.WriteString("override_path = true\n")
		}
	}
	if t := e.settings.TLS; t != nil {
		renderTLS(b, *t)
	}
	return relayed
}

func renderTLS(b *bytes.Buffer, t TLS) {
	if t.CAFile != "" {
		fmt.Fprintf(b, "ca = [%s]\n", quote(t.CAFile))
	}
	if t.CertFile != "" {
		fmt.Fprintf(b, "client = [[%s, %s]]\n", quote(t.CertFile), quote(t.KeyFile))
	}
	if t.InsecureSkipVerify {
		b.WriteString("skip_verify = true\n")
	}
}

// quote makes a TOML string; JSON's escapes are TOML's too.
func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be marshalled
	}
	return string(text)
}

// writeTree makes dir hold exactly files, plus what others put there.
func writeTree(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create directory of registries: %w", err)
	}
	if err := removeStale(dir, files); err != nil {
		return err
	}
	for _, name := range sortedKeys(files) {
		sub := filepath.Join(dir, name)
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return fmt.Errorf("create directory of registry: %w", err)
		}
		if err := durable.Replace(filepath.Join(sub, hostsFile), files[name]); err != nil {
			return fmt.Errorf("write hosts of registry %s: %w", name, err)
		}
	}
	return nil
}

func removeStale(dir string, files map[string][]byte) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list registries: %w", err)
	}
	var failed []error
	for _, e := range entries {
		if _, wanted := files[e.Name()]; wanted || !e.IsDir() {
			continue
		}
		file := filepath.Join(dir, e.Name(), hostsFile)
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.HasPrefix(content, []byte(mark)) {
			continue // not ours
		}
		if err == nil {
			err = os.RemoveAll(filepath.Dir(file))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("remove former registry: %w", err))
		}
	}
	return errors.Join(failed...)
}
