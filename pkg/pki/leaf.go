package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"
)

// leafState is what was found of a leaf, and what is wrong with it.
type leafState struct {
	key     crypto.Signer     // nil: a new one is needed
	cert    *x509.Certificate // nil: none that can be read
	reason  string            // why it has to be issued anew; empty: it is good
	missing bool              // there is no certificate yet
	aside   []string          // files to be kept under another name
}

// inspect reads a leaf's files and compares them with the table.
func (s *Store) inspect(l Leaf, now time.Time) (leafState, error) {
	var st leafState
	var err error
	keyFile, certFile := s.KeyFile(l.Name), s.CertFile(l.Name)
	if st.key, err = readKey(keyFile); err != nil {
		if err := st.note(keyFile, "the key", err); err != nil {
			return st, err
		}
	}
	chain, err := readCertificates(certFile)
	if err != nil {
		st.missing = errors.Is(err, fs.ErrNotExist)
		return st, st.note(certFile, "the certificate", err)
	}
	st.cert = chain[0]
	issuer := s.authorities[l.Authority].cert
	if err := st.cert.CheckSignatureFrom(issuer); err != nil {
		st.aside = append(st.aside, certFile)
		st.reason = fmt.Sprintf("the certificate was issued by %s", st.cert.Issuer)
		return st, nil
	}
	if st.reason == "" {
		st.reason = s.objection(l, chain, st.key, now)
	}
	return st, nil
}

// note records a file that is missing or damaged; it returns other errors.
func (st *leafState) note(path, what string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		st.reason = what + " is missing"
	case isDamaged(err):
		st.reason = what + " is damaged"
		st.aside = append(st.aside, path)
	default:
		return err
	}
	return nil
}

// objection says why a leaf of the right authority has to be issued anew, or nothing.
func (s *Store) objection(l Leaf, chain []*x509.Certificate, key crypto.Signer, now time.Time) string {
	if why := s.mismatch(l, chain, key); why != "" {
		return why
	}
	return s.expiry(l, chain[0], now)
}

// mismatch says in what a certificate differs from the table, or nothing.
func (s *Store) mismatch(l Leaf, chain []*x509.Certificate, key crypto.Signer) string {
	cert := chain[0]
	wanted := s.chain(cert, l.Authority)
	switch {
	case !samePublicKey(cert.PublicKey, key.Public()):
		return "the certificate does not belong to the key"
	case !slices.EqualFunc(chain, wanted, (*x509.Certificate).Equal):
		return "the chain to the root has changed"
	case cert.Subject.CommonName != l.CommonName || !sameSet(cert.Subject.Organization, l.Organizations):
		return "the subject has changed"
	case !sameSet(cert.DNSNames, l.DNSNames) || !sameSet(addrs(cert), addrsOf(l)):
		return "the names or addresses have changed"
	case !sameSet(cert.ExtKeyUsage, l.Usages):
		return "the usages have changed"
	}
	return ""
}

// expiry says why a leaf has to be renewed now, or nothing. It asks for no renewal that would not help.
func (s *Store) expiry(l Leaf, cert *x509.Certificate, now time.Time) string {
	next := s.validity(now).within(s.authorities[l.Authority].cert)
	switch {
	case now.Before(cert.NotBefore) && !now.Before(next.from) && s.remote == nil: // another's clock is as good as ours
		return "the certificate is not valid yet"
	case !now.Before(renewAt(cert)) && next.to.After(cert.NotAfter):
		return "two thirds of its life are over"
	}
	return ""
}

// chain returns what a leaf's file holds.
func (s *Store) chain(cert *x509.Certificate, by AuthorityName) []*x509.Certificate {
	return []*x509.Certificate{cert, s.authorities[by].cert, s.authorities[Root].cert}
}

// validity is that of a certificate issued now. A clock that is behind the earliest possible time is not
// allowed to shorten it: the certificate stays good when the clock is set right.
func (s *Store) validity(now time.Time) validity {
	return s.lifetimes.from(now, s.earliest, s.lifetimes.Leaf)
}

func (l Lifetimes) from(now, earliest time.Time, life time.Duration) validity {
	v := validity{from: now.Add(-l.Backdate), to: now.Add(life)}
	if now.Before(earliest) {
		v.to = earliest.Add(life)
	}
	v.from, v.to = v.from.UTC().Truncate(time.Second), v.to.UTC().Truncate(time.Second)
	return v
}

// addrs returns a certificate's addresses.
func addrs(cert *x509.Certificate) []netip.Addr {
	var out []netip.Addr
	for _, ip := range cert.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, a.Unmap())
		}
	}
	return out
}

func addrsOf(l Leaf) []netip.Addr {
	var out []netip.Addr
	for _, a := range l.IPs {
		out = append(out, a.Unmap())
	}
	return out
}

// sameSet compares lists without regard to order.
func sameSet[T comparable](a, b []T) bool {
	in := func(list []T) func(T) bool {
		return func(v T) bool { return !slices.Contains(list, v) }
	}
	return !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}
