package pki

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// timerAlarm waits on the clock of a synctest bubble and notes for how long it was asked to.
type timerAlarm struct{ waits []time.Duration }

func (a *timerAlarm) wait(ctx context.Context, until time.Time) error {
	a.waits = append(a.waits, time.Until(until))
	select {
	case <-time.After(time.Until(until)):
	case <-ctx.Done():
	}
	return nil
}

func (a *timerAlarm) close() error { return nil }

// keep runs the renewal of s until the returned function is called.
func keep(t *testing.T, s *Store, a alarm) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.renewUntil(ctx, a) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// pass lets the time of a bubble go on, until everything in it has done its work.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// Seventeen months pass: one client stays connected, others come every day.
func TestRenewalWithinAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(t)
		o.Clock = time.Now
		s, a := ensure(t, o), &timerAlarm{}
		stop := keep(t, s, a)
		connected := dial(t, s)
		var serials []string
		for range 500 {
			pass(24 * time.Hour)
			connected.echo(t)
			c := dial(t, s)
			c.echo(t)
			serials = append(serials, c.serials...)
			c.close(t)
		}
		connected.close(t)
		stop()
		slices.Sort(serials)
		if n := len(slices.Compact(serials)); n != 6 {
			t.Errorf("%d certificates were used, want three of the server and three of the client", n)
		}
		const days243 = 243 * 24 * time.Hour // two thirds of 366 days, less the day before the issue
		if diff := cmp.Diff([]time.Duration{days243, days243, days243}, a.waits); diff != "" {
			t.Errorf("woke up at other times (-want +got):\n%s", diff)
		}
		healthy(t, s)
	})
}

func TestRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(t)
		o.Clock = time.Now
		o.Leaves = slices.DeleteFunc(o.Leaves, func(l Leaf) bool { return l.Name != Admin && l.Name != Scheduler })
		s, a := ensure(t, o), &timerAlarm{}
		log := logTo(&o)
		s.log = o.Log
		var full atomic.Bool
		full.Store(true)
		s.disk.before = func(op, path string) error {
			if full.Load() && op == "write" && strings.Contains(path, Admin) {
				return errors.New("no space left on device")
			}
			return nil
		}
		stop := keep(t, s, a)
		pass(243*24*time.Hour + 10*time.Hour)
		full.Store(false)
		pass(time.Hour)
		stop()

		want := []time.Duration{243 * 24 * time.Hour}
		for _, minutes := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60, 60, 60} {
			want = append(want, minutes*time.Minute)
		}
		want = append(want, 243*24*time.Hour-10*time.Hour-3*time.Minute) // the scheduler's, renewed in time
		if diff := cmp.Diff(want, a.waits); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		first := strings.SplitAfter(log.String(), "\n")[:2]
		equal(t, strings.Join(first, ""), "level=INFO msg=\"issued a certificate anew\" certificate=scheduler reason=\"two thirds of its life are over\" "+
			"expires=2001-08-31T00:00:00Z renewal=2001-05-01T00:00:00Z\n"+
			"level=ERROR msg=\"renewing certificates failed: mend the cause, it is tried again\" error=\"no space left on device\" in=1m0s\n")
		healthy(t, s)
	})
}

// clientConn is a client's side of a connection to a server, each with a leaf of the store.
type clientConn struct {
	*tls.Conn
	serials []string // of the server's and the client's certificate
	served  chan error
}

// dial connects to a server that, as the client does, reads its files at the handshake.
func dial(t *testing.T, s *Store) *clientConn {
	t.Helper()
	near, far := net.Pipe()
	c := &clientConn{served: make(chan error, 1)}
	load := func(name string) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(s.CertFile(name), s.KeyFile(name))
		return &pair, err
	}
	go func() {
		server := tls.Server(far, &tls.Config{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load(APIServer) },
			ClientAuth:     tls.RequireAndVerifyClientCert, ClientCAs: pool(t, s.CAFile(Kubernetes)),
			MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		})
		_, err := io.Copy(server, server)
		c.served <- errors.Join(err, far.Close())
	}()
	c.Conn = tls.Client(near, &tls.Config{
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := load(Admin)
			if err == nil {
				c.serials = append(c.serials, pair.Leaf.SerialNumber.String())
			}
			return pair, err
		},
		RootCAs: pool(t, s.CAFile(Kubernetes)), ServerName: "kubernetes.default.svc", MinVersion: tls.VersionTLS13,
	})
	c.echo(t)
	c.serials = append(c.serials, c.ConnectionState().PeerCertificates[0].SerialNumber.String())
	return c
}

func (c *clientConn) echo(t *testing.T) {
	t.Helper()
	want := fmt.Sprint(time.Now())
	got := make([]byte, len(want))
	if _, err := io.WriteString(c, want); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	equal(t, string(got), want)
}

func (c *clientConn) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(c.CloseWrite(), <-c.served); err != nil {
		t.Error(err)
	}
	_ = c.Close()
}
