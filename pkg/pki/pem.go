package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"k8s.io/client-go/util/keyutil"
)

const (
	certificateBlock = "CERTIFICATE"
	privateKeyBlock  = "PRIVATE KEY"
	publicKeyBlock   = "PUBLIC KEY"
)

// damagedError says that a file was read but does not hold what it should.
type damagedError struct{ file, found string }

func (e *damagedError) Error() string { return e.file + ": found " + e.found }

func isDamaged(err error) bool {
	var d *damagedError
	return errors.As(err, &d)
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return key, nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateKeyBlock, Bytes: der}), nil
}

func encodePublicKey(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicKeyBlock, Bytes: der}), nil
}

func encodeCertificates(certs ...*x509.Certificate) []byte {
	var buf bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&buf, &pem.Block{Type: certificateBlock, Bytes: c.Raw}) // a bytes.Buffer takes every write
	}
	return buf.Bytes()
}

// readKey reads a private key. The error is fs.ErrNotExist, a damagedError, or one of reading.
func readKey(file string) (crypto.Signer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	key, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return nil, &damagedError{file, fmt.Sprintf("no PEM private key in its %d bytes", len(data))}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, &damagedError{file, fmt.Sprintf("a key that cannot sign (%T)", key)}
	}
	return signer, nil
}

// readCertificates reads all certificates of a PEM file, at least one. The errors are those of readKey.
func readCertificates(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	var certs []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != certificateBlock {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &damagedError{file, fmt.Sprintf("a certificate that cannot be parsed (%v)", err)}
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, &damagedError{file, fmt.Sprintf("no PEM certificate in its %d bytes", len(data))}
	}
	return certs, nil
}

// samePublicKey tells whether two public keys of any kind are equal.
func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
