package pki

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/lifecycle"
)

// Leaves of six seconds are renewed twice, while the clients of the upstream libraries that re-read files connect to servers
// that do: client-go to the API server's serving content, and etcd's transport to itself. One connection stays open throughout.
func TestRenewalWithClientsConnected(t *testing.T) {
	t.Parallel()
	o := options(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := params()
	p.APIServer = "https://" + listener.Addr().String()
	o.Leaves, o.Clock = ServerLeaves(p), time.Now
	o.Lifetimes = Lifetimes{Authority: time.Hour, Leaf: 6 * time.Second}
	s := ensure(t, o)

	serials := newSeen()
	serve(t, listener, apiServerTLS(t, s), serials)
	etcd, err := transport.NewTLSListener(mustListen(t), new(etcdTLS(s, EtcdServer)))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, etcd, nil, serials)
	begin(t, Renewer(s))

	clientGo := clientGoClient(t, s)
	fresh := &http.Client{Transport: etcdTransport(t, s)}
	connected := &http.Client{Transport: etcdTransport(t, s)}
	rotations := 0
	limit, tick := time.After(60*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for n := 0; !serials.atLeast(3, APIServer, "kedge:supervisor", EtcdServer, "kube-apiserver-etcd-client"); n++ {
		select {
		case <-limit:
			t.Fatalf("not renewed twice: %v", serials)
		case <-tick.C:
		}
		serial, err := do(t, clientGo, p.APIServer, request{close: true})
		if errors.Is(err, net.ErrClosed) {
			rotations++ // client-go closes all its connections when it sees a new certificate, the one in the handshake too
			serial, err = do(t, clientGo, p.APIServer, request{close: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		serials.add(APIServer, serial)
		serials.add(EtcdServer, get(t, fresh, "https://"+etcd.Addr().String(), request{close: true}))
		get(t, connected, "https://"+etcd.Addr().String(), request{reused: n > 0})
	}
	if rotations > 2 {
		t.Errorf("client-go lost its connections %d times in two renewals", rotations)
	}
	healthy(t, s)
}

// apiServerTLS serves as the API server does.
func apiServerTLS(t *testing.T, s *Store) *tls.Config {
	t.Helper()
	pair, err := dynamiccertificates.NewDynamicServingContentFromFiles("serving", s.CertFile(APIServer), s.KeyFile(APIServer))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile("clients", s.CAFile(Kubernetes))
	if err != nil {
		t.Fatal(err)
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	control := dynamiccertificates.NewDynamicServingCertificateController(base, ca, pair, nil, nil)
	pair.AddListener(control)
	if err := control.RunOnce(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { pair.Run(ctx, 1); done <- struct{}{} }()
	go func() { control.Run(1, ctx.Done()); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-done; <-done })
	base.GetConfigForClient = control.GetConfigForClient
	return base
}

func etcdTLS(s *Store, leaf string) transport.TLSInfo {
	return transport.TLSInfo{CertFile: s.CertFile(leaf), KeyFile: s.KeyFile(leaf), TrustedCAFile: s.CAFile(Etcd), ClientCertAuth: true}
}

func etcdTransport(t *testing.T, s *Store) *http.Transport {
	t.Helper()
	tr, err := transport.NewTransport(etcdTLS(s, APIServerEtcdClient), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func clientGoClient(t *testing.T, s *Store) *http.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.KubeconfigFile(Supervisor))
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// serve answers on a listener and notes the clients' certificates.
func serve(t *testing.T, l net.Listener, config *tls.Config, clients *seen) {
	t.Helper()
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		TLSConfig:         config,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
				http.Error(w, "no client certificate", http.StatusUnauthorized)
				return
			}
			peer := r.TLS.PeerCertificates[0]
			clients.add(peer.Subject.CommonName, peer.SerialNumber.String())
		}),
	}
	done := make(chan error, 1)
	go func() {
		if config != nil {
			done <- server.ServeTLS(l, "", "")
			return
		}
		done <- server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// begin runs a component until the test ends.
func begin(t *testing.T, c lifecycle.Component) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- lifecycle.Run(ctx, c, slog.New(slog.DiscardHandler), nil, func() { close(ready) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-ready
}

// request says whether a request's connection ends with it, and whether it is to be one that was there before.
type request struct{ close, reused bool }

// get is do without an error.
func get(t *testing.T, c *http.Client, url string, want request) string {
	t.Helper()
	serial, err := do(t, c, url, want)
	if err != nil {
		t.Fatal(err)
	}
	return serial
}

// do does one request and returns the serial number of the server's certificate.
func do(t *testing.T, c *http.Client, url string, want request) (string, error) {
	t.Helper()
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if i.Reused != want.reused {
			t.Errorf("%s: connection reused: %t, want %t", url, i.Reused, want.reused)
		}
	}}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = want.close
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s, %w", url, resp.Status, err)
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.String(), nil
}
