package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kedge/pkg/pki"
)

// within bounds every wait of these tests; a fast machine needs a fraction of it.
const within = 20 * time.Second

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// certificates makes those of a server and of node-1, as kedge does.
func certificates(t *testing.T) *pki.Store {
	t.Helper()
	dir, local := t.TempDir(), netip.MustParseAddr("127.0.0.1")
	store, err := pki.Ensure(t.Context(), pki.Options{
		ServerDir: filepath.Join(dir, "server"), AgentDir: filepath.Join(dir, "agent"), Log: quiet(),
		Leaves: pki.ServerLeaves(pki.Params{
			NodeName: "node-1", NodeIPs: []netip.Addr{local}, ServiceIPs: []netip.Addr{local}, ClusterDomain: "cluster.local",
			APIServer: "https://127.0.0.1:6444",
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// api is an API server as far as tunnels see: TLS, and nodes known by their certificates.
type api struct {
	*Server
	web     *httptest.Server
	address string
	until   time.Time
	refuse  atomic.Int32 // so many requests are refused
}

// newAPI starts one on an address; 127.0.0.1:0 is a free port.
func newAPI(t *testing.T, store *pki.Store, listen string) *api {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{Server: NewServer(ServerConfig{Node: "server-1", Log: quiet()}), address: l.Addr().String(), until: time.Now().Add(time.Hour)}
	mux := http.NewServeMux()
	mux.HandleFunc(Path, func(w http.ResponseWriter, r *http.Request) {
		if a.refuse.Add(-1) >= 0 {
			http.Error(w, "no roles yet", http.StatusForbidden)
			return
		}
		node, ok := strings.CutPrefix(r.TLS.PeerCertificates[0].Subject.CommonName, "system:node:")
		if !ok {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		a.Accept(w, r, node, a.until)
	})
	pair, err := tls.LoadX509KeyPair(store.CertFile(pki.APIServer), store.KeyFile(pki.APIServer))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(store.CAFile(pki.Kubernetes))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	a.web = &httptest.Server{Listener: l, EnableHTTP2: true, Config: &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(quiet().Handler(), 0)}}
	a.web.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	a.web.StartTLS()
	t.Cleanup(a.stop)
	return a
}

func (a *api) stop() {
	_ = a.web.Listener.Close() // may be closed
	a.Close()
	a.web.Close()
}

// list is a directory that a test changes.
type list struct {
	mu      sync.Mutex
	servers []string
	changed chan struct{}
}

func newList(servers ...string) *list { return &list{servers: servers, changed: make(chan struct{})} }

func (l *list) Servers() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.servers
}

func (l *list) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *list) set(servers ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servers = servers
	close(l.changed)
	l.changed = make(chan struct{})
}

// newClient runs a node's end until the test ends or stop is called.
func newClient(t *testing.T, kubeconfig, kubelet string, servers Directory) (stop func()) {
	t.Helper()
	c := NewClient(ClientConfig{Kubeconfig: kubeconfig, Kubelet: kubelet, Servers: servers, Log: quiet()})
	ctx, cancel := context.WithCancel(context.Background()) // outlives the test's context, so that the end is checked
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func() {}) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// newKubelet answers each line with its name and the line.
func newKubelet(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if _, err := fmt.Fprintln(conn, name, lines.Text()); err != nil {
						return
					}
				}
				_, _ = io.WriteString(conn, "end\n")
			}()
		}
	}()
	return l.Addr().String()
}

// nodeAddress is refused when it is reached directly.
const nodeAddress = "127.9.9.9:1"

func node1() []Claim { return []Claim{{Node: "node-1"}} }

// ask sends a line on a connection and returns the answer.
func ask(t *testing.T, conn net.Conn, line string) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return err.Error()
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(answer)
}

// awaitTunnels waits until a node has as many tunnels.
func (a *api) awaitTunnels(t *testing.T, node string, want int) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < within; <-tick.C {
		if got, _ := a.newest(node); len(got) == want {
			return
		}
	}
	got, _ := a.newest(node)
	t.Fatalf("%s has %d tunnels, want %d", node, len(got), want)
}
