package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"
)

// Issuer has a certificate made by an authority whose key is elsewhere, for a leaf and the holder of key. It retries what
// can heal until ctx ends.
type Issuer func(ctx context.Context, l Leaf, key crypto.Signer) (*x509.Certificate, error)

// NodeOptions say which certificates a machine without authorities wants. All fields but Clock are required.
type NodeOptions struct {
	Dir    string // of the node's files
	Leaves []Leaf // of NodeLeaves
	Trust  Trust
	Issue  Issuer
	Log    *slog.Logger

	Clock func() time.Time // optional: time.Now
}

// Trust is what a machine without authorities knows of its cluster.
type Trust struct {
	Kubernetes *x509.Certificate
	Root       *x509.Certificate
}

// Fingerprint is the SHA-256 of the root certificate's DER form, in hexadecimal.
func (t Trust) Fingerprint() string { return Fingerprint(t.Root) }

// EnsureNode is Ensure for a machine without authorities. Leaves are issued in their order.
func EnsureNode(ctx context.Context, o NodeOptions) (*Store, error) {
	all := map[AuthorityName]*authority{Kubernetes: {name: Kubernetes, cert: o.Trust.Kubernetes}, Root: {name: Root, cert: o.Trust.Root}}
	s := newStore(Options{AgentDir: o.Dir, Leaves: o.Leaves, Log: o.Log, Clock: o.Clock}.withDefaults(), all)
	s.remote = o.Issue
	if err := errors.Join(s.disk.makeDir(o.Dir), s.disk.sweep(o.Dir)); err != nil {
		return nil, err
	}
	return s, s.ensureFiles(ctx, s.clock())
}

// LoadTrust reads what EnsureNode wrote. The error is fs.ErrNotExist when the machine has not joined a cluster, also when what is
// there cannot be used: a token helps in both cases.
func LoadTrust(dir string) (Trust, error) {
	file := filepath.Join(dir, bundleFile)
	certs, err := readCertificates(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Trust{}, err
	case err != nil:
		return Trust{}, fmt.Errorf("%w (%w)", err, fs.ErrNotExist)
	case len(certs) != 2 || certs[0].CheckSignatureFrom(certs[1]) != nil:
		return Trust{}, fmt.Errorf("%s does not hold an authority and its root (%w)", file, fs.ErrNotExist)
	}
	return Trust{Kubernetes: certs[0], Root: certs[1]}, nil
}
