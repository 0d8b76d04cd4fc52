package registries

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	dockerconfig "github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pki is a CA with a serving certificate for 127.0.0.1 and a client certificate, as files.
type pki struct {
	dir    string
	pool   *x509.CertPool
	server tls.Certificate
}

func newPKI(t *testing.T) pki {
	t.Helper()
	dir := t.TempDir()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := newKey(t)
	caDER := sign(t, ca, ca, caKey, caKey)
	write(t, filepath.Join(dir, "ca.pem"), encode("CERTIFICATE", caDER))
	parsed, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	p := pki{dir: dir, pool: x509.NewCertPool()}
	p.pool.AddCert(parsed)
	for _, n := range []string{"server", "client"} {
		key := newKey(t)
		der := sign(t, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: n}, NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, parsed, key, caKey)
		keyDER, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, n+".pem"), encode("CERTIFICATE", der))
		write(t, filepath.Join(dir, n+"-key.pem"), encode("EC PRIVATE KEY", keyDER))
	}
	p.server, err = tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, c, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// server is a registry on loopback that remembers what it was asked, as "METHOD path?query status".
type server struct {
	host string // host:port

	mu    sync.Mutex
	asked []string
}

// guard decides about a request before the registry sees it, and answers it itself if it says true.
type guard func(w http.ResponseWriter, r *http.Request) bool

func newServer(t *testing.T, config *tls.Config, g guard, repositories ...string) *server {
	t.Helper()
	s := &server{}
	api := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &recorder{ResponseWriter: w, request: r, server: s}
		if g == nil || !g(recorder, r) {
			api.ServeHTTP(recorder, r)
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if config != nil {
		srv.TLS = config
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	s.host = srv.Listener.Addr().String()
	for _, r := range repositories {
		push(t, api, r)
	}
	return s
}

// recorder notes a request before the client can see the answer.
type recorder struct {
	http.ResponseWriter
	request *http.Request
	server  *server
}

func (w *recorder) WriteHeader(status int) {
	u := w.request.URL
	w.server.mu.Lock()
	w.server.asked = append(w.server.asked, strings.TrimSuffix(w.request.Method+" "+u.Path+"?"+u.RawQuery, "?")+" "+http.StatusText(status))
	w.server.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

// heads are the requests for the existence of something.
func (s *server) heads() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(line string) bool { return !strings.HasPrefix(line, http.MethodHead) })
}

// push puts a random image there, past all guards.
func push(t *testing.T, api http.Handler, repository string) {
	t.Helper()
	front := httptest.NewServer(api)
	defer front.Close()
	ref, err := name.ParseReference(front.Listener.Addr().String() + "/" + repository + ":1")
	if err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(100_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
}

// start runs the component with a registries.yaml and returns containerd's directory of registries.
func start(t *testing.T, yaml string, out io.Writer) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "certs.d")
	file := write(t, filepath.Join(t.TempDir(), "registries.yaml"), yaml)
	ctx, cancel := context.WithCancel(t.Context())
	c := New(Options{File: file, Dir: dir, Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- c.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("component ended: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("component ended: %v", err)
		}
	})
	return dir
}

// pull reads an image with everything in it as containerd would, and returns the number of blobs.
func pull(ctx context.Context, dir, ref string, credentials func(string) (string, string, error)) (int, error) {
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: dockerconfig.ConfigureHosts(ctx, dockerconfig.HostOptions{
		HostDir: dockerconfig.HostDirFromRoot(dir), Credentials: credentials,
	})})
	resolved, desc, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return 0, err
	}
	fetcher, err := resolver.Fetcher(ctx, resolved)
	if err != nil {
		return 0, err
	}
	return fetchAll(ctx, fetcher, desc)
}

func fetchAll(ctx context.Context, fetcher remotes.Fetcher, desc ocispec.Descriptor) (int, error) {
	store := memory{}
	blobs := 0
	err := images.Walk(ctx, images.Handlers(images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		blobs++
		return nil, store.fetch(ctx, fetcher, d)
	}), images.ChildrenHandler(store)), desc)
	return blobs, err
}

// relayURL finds the relay in the files written for containerd.
func relayURL(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", hostsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`http://127\.0\.0\.1:\d+/0/`).Find(content); m != nil {
			return strings.TrimSuffix(string(m), "/0/")
		}
	}
	t.Fatal("no file names the relay")
	return ""
}
