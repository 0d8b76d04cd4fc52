package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"slices"
	"time"
)

// Store knows where the certificates are. Its methods may be called from several goroutines.
type Store struct {
	serverDir, agentDir string
	leaves              []Leaf
	authorities         map[AuthorityName]*authority
	remote              Issuer // nil: the authorities' keys are here
	lifetimes           Lifetimes
	earliest            time.Time
	clock               func() time.Time
	disk                disk
	log                 *slog.Logger
}

func newStore(o Options, authorities map[AuthorityName]*authority) *Store {
	return &Store{
		serverDir: o.ServerDir, agentDir: o.AgentDir, leaves: o.Leaves, authorities: authorities,
		lifetimes: o.Lifetimes, earliest: o.Earliest, clock: o.Clock, disk: o.disk, log: o.Log,
	}
}

// CertFile is the file of a leaf's certificate, followed by its intermediate and the root.
func (s *Store) CertFile(leaf string) string { return filepath.Join(s.dirOf(leaf), leaf+".crt") }

// KeyFile is the file of a leaf's private key.
func (s *Store) KeyFile(leaf string) string { return filepath.Join(s.dirOf(leaf), leaf+".key") }

// KubeconfigFile is the kubeconfig that refers to a leaf's files, or empty if the table names none.
func (s *Store) KubeconfigFile(leaf string) string {
	l, ok := s.leaf(leaf)
	if !ok || l.Kubeconfig == "" {
		return ""
	}
	return filepath.Join(s.dirOf(leaf), l.Kubeconfig)
}

// CAFile is what components trust: the certificate of one authority alone.
func (s *Store) CAFile(name AuthorityName) string {
	return filepath.Join(s.serverDir, name.base()+".crt")
}

// CAKeyFile is the private key of an authority.
func (s *Store) CAKeyFile(name AuthorityName) string {
	return filepath.Join(s.serverDir, name.base()+".key")
}

// BundleFile is what pods and users trust: the kubernetes authority and the root.
func (s *Store) BundleFile() string { return filepath.Join(s.serverDir, bundleFile) }

// NodeCAFile is the copy of CAFile(Kubernetes) with the node's credentials.
func (s *Store) NodeCAFile() string { return filepath.Join(s.agentDir, Kubernetes.base()+".crt") }

// NodeBundleFile is the copy of BundleFile with the node's credentials.
func (s *Store) NodeBundleFile() string { return filepath.Join(s.agentDir, bundleFile) }

// ServiceAccountKeyFile signs service account tokens.
func (s *Store) ServiceAccountKeyFile() string {
	return filepath.Join(s.serverDir, serviceAccountKeyFile)
}

// ServiceAccountPublicKeyFile holds the keys that verify service account tokens.
func (s *Store) ServiceAccountPublicKeyFile() string {
	return filepath.Join(s.serverDir, serviceAccountPubFile)
}

// RootFingerprint is the SHA-256 of the root certificate's DER form, in hexadecimal.
func (s *Store) RootFingerprint() string { return Fingerprint(s.authorities[Root].cert) }

// Fingerprint is the SHA-256 of a certificate's DER form, in hexadecimal.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// List describes all certificates as they are on disk now.
func (s *Store) List() ([]Info, error) { return ListDir(s.serverDir, s.agentDir, s.clock()) }

func (s *Store) bundle() []byte {
	return encodeBundle(s.authorities[Kubernetes].cert, s.authorities[Root].cert)
}

func (s *Store) leaf(name string) (Leaf, bool) {
	i := slices.IndexFunc(s.leaves, func(l Leaf) bool { return l.Name == name })
	if i < 0 {
		return Leaf{}, false
	}
	return s.leaves[i], true
}

func (s *Store) dirOf(leaf string) string {
	if l, ok := s.leaf(leaf); ok && l.Node {
		return s.agentDir
	}
	return s.serverDir
}

func (s *Store) dirs() []string {
	return slices.DeleteFunc([]string{s.serverDir, s.agentDir}, func(dir string) bool { return dir == "" })
}
