package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"kedge/pkg/pki"
)

// handshakeTimeout bounds one attempt to meet a server.
const handshakeTimeout = 10 * time.Second

// meet shakes hands with a server and returns its cluster's authorities, when the root is the one that the token names.
// Nothing of the token is sent.
func meet(ctx context.Context, server, fingerprint string) (pki.Trust, error) {
	u, err := url.Parse(server)
	if err != nil {
		return pki.Trust{}, final(fmt.Errorf("parse --server: %w", err))
	}
	var trust pki.Trust
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: handshakeTimeout}, Config: &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: u.Hostname(),
		// The system's roots know nothing of the cluster's; examine checks the chain from the root of the token on.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) (err error) {
			trust, err = examine(s.PeerCertificates, fingerprint, u.Hostname(), time.Now())
			return err
		},
	}}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return pki.Trust{}, fmt.Errorf("connect to %s: %w", server, plain(err))
	}
	return trust, conn.Close()
}

// plain drops the words that crypto/tls puts around the error of a check.
func plain(err error) error {
	if own, ok := errors.AsType[*checkError](err); ok {
		return own
	}
	return err
}

// examine checks the chain of certificates that a server showed, the server's own first.
func examine(chain []*x509.Certificate, fingerprint, host string, now time.Time) (pki.Trust, error) {
	at := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return pki.Fingerprint(c) == fingerprint })
	if at < 0 {
		return pki.Trust{}, otherRoot(chain, fingerprint)
	}
	root, intermediates := chain[at], x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, DNSName: host, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return pki.Trust{}, &checkError{text: fmt.Sprintf("the clock of this machine shows %s, but the certificate %s is valid from %s to %s: set the clock",
			stamp(now), invalid.Cert.Subject.CommonName, stamp(invalid.Cert.NotBefore), stamp(invalid.Cert.NotAfter))}
	case errors.As(err, &name):
		return pki.Trust{}, &checkError{final: true, text: fmt.Sprintf("the server's certificate is not for %q but for %s: "+
			"use one of these in --server, or start the server with --tls-san %s", host, strings.Join(names(chain[0]), ", "), host)}
	case err != nil:
		return pki.Trust{}, &checkError{final: true, text: fmt.Sprintf("the server's certificate is not sound: %v", err)}
	}
	if i := slices.IndexFunc(chains, func(c []*x509.Certificate) bool { return len(c) == 3 }); i >= 0 {
		return pki.Trust{Kubernetes: chains[i][1], Root: root}, nil
	}
	return pki.Trust{}, &checkError{final: true, text: "the server's certificate was not issued by an authority below the root: is this a server of kedge?"}
}

func otherRoot(chain []*x509.Certificate, fingerprint string) error {
	last := chain[len(chain)-1]
	return &checkError{final: true, text: fmt.Sprintf("the server is of another cluster, or somebody is in between: its chain of certificates ends with %s (SHA-256 %s), "+
		"and the token is for the root %s; the secret was not sent: check --server and the token", last.Subject, pki.Fingerprint(last), fingerprint)}
}

// names lists what a certificate is good for, without loopback and the cluster's inner names.
func names(cert *x509.Certificate) []string {
	var out []string
	for _, ip := range cert.IPAddresses {
		if !ip.IsLoopback() {
			out = append(out, ip.String())
		}
	}
	for _, n := range cert.DNSNames {
		if n != "localhost" && !strings.HasPrefix(n, "kubernetes") {
			out = append(out, n)
		}
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
