package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kedge/pkg/pki"
)

// cluster makes a cluster's certificates and returns them with the chain that its API server shows.
func cluster(t *testing.T) (*pki.Store, tls.Certificate, []*x509.Certificate) {
	t.Helper()
	node := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	s, err := pki.Ensure(t.Context(), pki.Options{ServerDir: filepath.Join(t.TempDir(), "tls"), Log: slog.New(slog.DiscardHandler),
		Leaves: pki.ServerLeaves(pki.Params{NodeName: "first", NodeIPs: node, ServiceIPs: node, ClusterDomain: "cluster.local", APIServer: "https://127.0.0.1:6443"})})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(s.CertFile(pki.APIServer), s.KeyFile(pki.APIServer))
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	return s, pair, chain
}

func TestExamine(t *testing.T) {
	s, _, chain := cluster(t)
	other, _, _ := cluster(t)
	now := time.Now()
	for _, c := range []struct {
		name, fingerprint, host string
		chain                   []*x509.Certificate
		now                     time.Time
		final                   bool
		want                    string
	}{
		{"good", s.RootFingerprint(), "192.0.2.1", chain, now, false, ""},
		{"by name", s.RootFingerprint(), "first", chain, now, false, ""},
		{"another cluster", other.RootFingerprint(), "192.0.2.1", chain, now, true, "the server is of another cluster, or somebody is in between: " +
			"its chain of certificates ends with CN=kedge-root (SHA-256 " + s.RootFingerprint() + "), and the token is for the root " + other.RootFingerprint() +
			"; the secret was not sent: check --server and the token"},
		{"another name", s.RootFingerprint(), "192.0.2.9", chain, now, true, `the server's certificate is not for "192.0.2.9" but for 192.0.2.1, first: ` +
			"use one of these in --server, or start the server with --tls-san 192.0.2.9"},
		{"clock behind", s.RootFingerprint(), "192.0.2.1", chain, now.AddDate(-5, 0, 0), false, "the clock of this machine shows "},
		{"clock ahead", s.RootFingerprint(), "192.0.2.1", chain, now.AddDate(5, 0, 0), false, "the clock of this machine shows "},
		{"no authority between", s.RootFingerprint(), "192.0.2.1", []*x509.Certificate{chain[0], chain[2]}, now, true, "the server's certificate is not sound: "},
		{"the root itself", s.RootFingerprint(), "192.0.2.1", chain[2:], now, true, `the server's certificate is not for "192.0.2.1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			trust, err := examine(c.chain, c.fingerprint, c.host, c.now)
			if c.want == "" {
				if err != nil || trust.Fingerprint() != c.fingerprint || !trust.Kubernetes.Equal(chain[1]) {
					t.Errorf("trust %v, error %v", trust, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || isFinal(err) != c.final {
				t.Errorf("got  %v (final %v)\nwant %s (final %v)", err, isFinal(err), c.want, c.final)
			}
		})
	}
}

// TestMeet: the pin is checked before anything is sent.
func TestMeet(t *testing.T) {
	s, pair, _ := cluster(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 10)
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("Authorization") }),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close(); <-done })
	url := "https://" + listener.Addr().String()
	if trust, err := meet(t.Context(), url, s.RootFingerprint()); err != nil || trust.Fingerprint() != s.RootFingerprint() {
		t.Errorf("trust %v, error %v", trust, err)
	}
	wrong := strings.Repeat("0", 64)
	if _, err := meet(t.Context(), url, wrong); err == nil || !isFinal(err) || !strings.Contains(err.Error(), "connect to "+url+": the server is of another cluster") {
		t.Errorf("error %v", err)
	}
	m := &Member{Options: Options{Server: url, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Token: func() (string, error) { return wrong + "::abc123.0123456789abcdef", nil }}}
	if err := m.learnTrust(t.Context()); err == nil {
		t.Error("a server of another cluster is trusted")
	}
	if len(asked) > 0 {
		t.Errorf("the server was asked with %q", <-asked)
	}
}

// TestRetry: what can heal is tried again with growing pauses and said once, what cannot ends at once.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &counter{}
		begin, tries := time.Now(), 0
		err := retry(t.Context(), slog.New(log), "try", func(context.Context) error {
			if tries++; tries < 10 {
				return errors.New("not yet")
			}
			return final(errors.New("never"))
		})
		if took := time.Since(begin); err == nil || err.Error() != "try: never" || tries != 10 || took < 10*time.Second || took > 2*time.Minute {
			t.Errorf("error %v after %d tries and %s", err, tries, took)
		}
		if log.lines < 1 || log.lines > 2 {
			t.Errorf("%d lines are logged", log.lines)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("stopped"))
		if err := retry(ctx, slog.New(log), "try", func(context.Context) error { return errors.New("not yet") }); err == nil || err.Error() != "try: stopped" {
			t.Errorf("error %v", err)
		}
	})
}

// counter counts records.
type counter struct {
	slog.Handler
	lines int
}

func (c *counter) Enabled(context.Context, slog.Level) bool { return true }

func (c *counter) Handle(context.Context, slog.Record) error {
	c.lines++
	return nil
}
