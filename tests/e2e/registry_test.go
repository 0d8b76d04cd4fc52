package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"

	"kedge/tests/image"
)

const (
	secureRegistry = "127.0.0.1:5443"
	plainRegistry  = "127.0.0.1:5080"
	registryUser   = "puller"
	registrySecret = "correct horse"
)

const registriesFile = `
mirrors:
  docker.io:
    endpoint: ["https://127.0.0.1:5443"]
    rewrite: {"^library/(.*)": "copies/$1"}
  "registry.example:5000":
    endpoint: ["http://127.0.0.1:1", "http://127.0.0.1:5080"]
  wrong.example:
    endpoint: ["https://localhost:5443"]
configs:
  "127.0.0.1:5443":
    auth: {username: puller, password: "correct horse"}
    tls: {ca_file: /etc/kedge/registry-ca.pem}
  "localhost:5443":
    auth: {username: puller, password: wrong}
    tls: {ca_file: /etc/kedge/registry-ca.pem}
`

// requests remembers what registries were asked for.
type requests struct {
	mu   sync.Mutex
	seen []string
}

func (r *requests) note(req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, req.Method+" "+req.Host+req.URL.Path)
}

func (r *requests) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.seen, "\n")
}

// serveRegistry runs a registry on the host's loopback; with a certificate it also wants a password.
func serveRegistry(t *testing.T, n *node, address string, cert *tls.Certificate) *requests {
	t.Helper()
	l, err := n.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var seen requests
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		seen.note(req)
		if user, secret, _ := req.BasicAuth(); cert != nil && (user != registryUser || secret != registrySecret) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
			return
		}
		store.ServeHTTP(w, req)
	})}
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	go server.Serve(l) // ends with the test
	t.Cleanup(func() { server.Close() })
	return &seen
}

// selfSigned makes a certificate for loopback and returns it also as the file that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func push(t *testing.T, n *node, reference, text string) {
	t.Helper()
	img, err := image.Variant(testImage(t), text)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the registry is this process
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.Dial(ctx, network, address)
		},
	}
	err = remote.Write(ref, img, remote.WithTransport(transport), remote.WithContext(t.Context()),
		remote.WithAuth(&authn.Basic{Username: registryUser, Password: registrySecret}))
	if err != nil {
		t.Fatal(err)
	}
}

// TestRegistries pulls by way of registries.yaml: a mirror with TLS, password and rewritten names, a plain one behind a
// dead one, and one whose password is wrong.
func TestRegistries(t *testing.T) {
	n := newNode(t)
	cert, ca := selfSigned(t)
	err := errors.Join(
		os.WriteFile(n.Path("/etc/kedge/registries.yaml"), []byte(registriesFile), 0o600),
		os.WriteFile(filepath.Join(n.Path("/etc/kedge"), "registry-ca.pem"), ca, 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	secure, plain := serveRegistry(t, n, secureRegistry, &cert), serveRegistry(t, n, plainRegistry, nil)
	push(t, n, secureRegistry+"/copies/app:1", "rewritten")
	push(t, n, plainRegistry+"/a/b:1", "mirrored")
	n.start(t)
	n.waitReady(t)
	ns := n.namespace(t, "registries")
	t.Run("TLS, password and rewrite", func(t *testing.T) {
		runVariant(t, n, ns, "rewritten", "docker.io/library/app:1", "rewritten")
		if !strings.Contains(secure.String(), "GET 127.0.0.1:5443/v2/copies/app/") {
			t.Errorf("asked for\n%s", secure)
		}
	})
	t.Run("second endpoint", func(t *testing.T) {
		runVariant(t, n, ns, "mirrored", "registry.example:5000/a/b:1", "mirrored")
		if !strings.Contains(plain.String(), "GET 127.0.0.1:5080/v2/a/b/") {
			t.Errorf("asked for\n%s", plain)
		}
	})
	t.Run("loopback without a word in the file", func(t *testing.T) {
		runVariant(t, n, ns, "direct", plainRegistry+"/a/b:1", "mirrored")
	})
	t.Run("wrong password", func(t *testing.T) {
		n.apply(t, ns, strings.Replace(podYAML("refused", "restartPolicy: Never", "true"), image.Name, "wrong.example/copies/app:1", 1))
		n.waitPod(t, ns, "refused", "cannot pull", func(p *corev1.Pod) error {
			for _, c := range p.Status.ContainerStatuses {
				if w := c.State.Waiting; w != nil && w.Reason == "ErrImagePull" && strings.Contains(w.Message, "authorization failed") {
					return nil
				}
			}
			return fmt.Errorf("not ErrImagePull because of the password")
		})
	})
}
