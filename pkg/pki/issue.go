package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Lifetimes says how long certificates live. Intermediates live as long as the root.
type Lifetimes struct {
	Authority time.Duration
	Leaf      time.Duration
	Backdate  time.Duration // how long before its issue a certificate is already valid
}

// DefaultLifetimes are 20 years for authorities and one year for leaves, backdated by a day.
func DefaultLifetimes() Lifetimes {
	const day = 24 * time.Hour
	return Lifetimes{Authority: 20 * 365 * day, Leaf: 365 * day, Backdate: day}
}

// validity is the time in which a certificate is good.
type validity struct{ from, to time.Time }

// within returns v cut to the life of the issuer.
func (v validity) within(issuer *x509.Certificate) validity {
	if v.from.Before(issuer.NotBefore) {
		v.from = issuer.NotBefore
	}
	if v.to.After(issuer.NotAfter) {
		v.to = issuer.NotAfter
	}
	return v
}

// renewAt is the moment at which two thirds of a certificate's life are over.
func renewAt(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 3)
}

// authority can issue certificates; the root can do so only while its key is there.
type authority struct {
	name AuthorityName
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes the root when parent is nil, else an intermediate.
func newAuthority(name AuthorityName, parent *authority, v validity) (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "kedge-" + string(name)},
		NotBefore:             v.from,
		NotAfter:              v.to,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
	made := &authority{name: name, key: key}
	if parent == nil {
		parent = &authority{name: name, cert: template, key: key}
	} else {
		template.MaxPathLen, template.MaxPathLenZero = 0, true
	}
	if name == FrontProxy {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if made.cert, err = parent.sign(template, key.Public()); err != nil {
		return nil, fmt.Errorf("issue certificate authority %s: %w", name, err)
	}
	return made, nil
}

// issue makes a leaf for the holder of the key.
func (a *authority) issue(l Leaf, key crypto.PublicKey, v validity) (*x509.Certificate, error) {
	cert, err := a.sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: l.CommonName, Organization: l.Organizations},
		NotBefore:             v.from,
		NotAfter:              v.to,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           l.Usages,
		BasicConstraintsValid: true,
		DNSNames:              l.DNSNames,
		IPAddresses:           netIPs(l.IPs),
	}, key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate %s for the names %q: %w", l.Name, l.DNSNames, err)
	}
	return cert, nil
}

func (a *authority) sign(template *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse new certificate: %w", err)
	}
	return cert, nil
}

func netIPs(addrs []netip.Addr) []net.IP {
	var ips []net.IP
	for _, a := range addrs {
		ips = append(ips, a.Unmap().AsSlice())
	}
	return ips
}
