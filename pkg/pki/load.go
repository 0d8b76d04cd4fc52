package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/keyutil"
)

// loadAuthorities reads and checks the authorities and the service account key of a cluster. It changes nothing.
func loadAuthorities(dir string, now time.Time) (map[AuthorityName]*authority, error) {
	root, err := loadAuthority(dir, Root, nil)
	if err != nil {
		return nil, err
	}
	all := map[AuthorityName]*authority{Root: root}
	for _, name := range intermediates() {
		if all[name], err = loadAuthority(dir, name, root.cert); err != nil {
			return nil, err
		}
	}
	if err := checkServiceAccount(dir); err != nil {
		return nil, err
	}
	for _, name := range append([]AuthorityName{Root}, intermediates()...) {
		if err := checkClock(filepath.Join(dir, name.base()+".crt"), all[name].cert, now); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func loadAuthority(dir string, name AuthorityName, root *x509.Certificate) (*authority, error) {
	crt, keyFile := filepath.Join(dir, name.base()+".crt"), filepath.Join(dir, name.base()+".key")
	certs, err := readCertificates(crt)
	if err != nil {
		return nil, unusable(name, crt, err)
	}
	cert, issuer := certs[0], root
	if root == nil {
		issuer = cert
	}
	switch {
	case len(certs) != 1:
		err = &damagedError{crt, fmt.Sprintf("%d certificates instead of one", len(certs))}
	case !cert.IsCA:
		err = &damagedError{crt, fmt.Sprintf("the certificate of %s, which is not an authority", cert.Subject)}
	case cert.CheckSignatureFrom(issuer) != nil:
		err = &damagedError{crt, "a certificate that root.crt did not issue"}
	}
	if err != nil {
		return nil, unusable(name, crt, err)
	}
	key, err := readKey(keyFile)
	if name == Root && errors.Is(err, fs.ErrNotExist) {
		return &authority{name: name, cert: cert}, nil
	}
	if err == nil && !samePublicKey(cert.PublicKey, key.Public()) {
		err = &damagedError{keyFile, "a key that does not belong to " + filepath.Base(crt)}
	}
	if err != nil {
		return nil, unusable(name, keyFile, err)
	}
	return &authority{name: name, cert: cert, key: key}, nil
}

// checkServiceAccount checks that the public keys, which may be several, hold that of the signing key.
func checkServiceAccount(dir string) error {
	const what = "service account"
	keyFile, pubFile := filepath.Join(dir, serviceAccountKeyFile), filepath.Join(dir, serviceAccountPubFile)
	key, err := readKey(keyFile)
	if err != nil {
		return unusable(what, keyFile, err)
	}
	data, err := os.ReadFile(pubFile)
	if err != nil {
		return unusable(what, pubFile, err)
	}
	keys, err := keyutil.ParsePublicKeysPEM(data)
	if err != nil {
		return unusable(what, pubFile, &damagedError{pubFile, fmt.Sprintf("no PEM public key in its %d bytes", len(data))})
	}
	for _, k := range keys {
		if samePublicKey(key.Public(), crypto.PublicKey(k)) {
			return nil
		}
	}
	return unusable(what, pubFile, &damagedError{pubFile, "no public key that belongs to " + serviceAccountKeyFile})
}

// unusable tells the user what to do about a file that the cluster cannot be without.
func unusable(what AuthorityName, path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = &damagedError{path, "no such file, although other authorities are beside it"}
	}
	if !isDamaged(err) {
		return fmt.Errorf("load %s keys: %w", what, err)
	}
	return fmt.Errorf("load %s keys: %w: restore this file from a backup of %s, or end the cluster with `kedge reset`; nothing was changed",
		what, err, filepath.Dir(path))
}

// checkClock reports a clock at which an authority is not valid. It is the clock that is taken to be wrong.
func checkClock(path string, cert *x509.Certificate, now time.Time) error {
	if !now.Before(cert.NotBefore) && !now.After(cert.NotAfter) {
		return nil
	}
	return fmt.Errorf("check certificate authorities: the clock of this machine shows %s, but %s is valid from %s to %s: set the clock and start again; nothing was changed",
		stamp(now), path, stamp(cert.NotBefore), stamp(cert.NotAfter))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
