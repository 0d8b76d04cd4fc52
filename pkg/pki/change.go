package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// change is what has to be done to the files of one leaf.
type change struct {
	leaf   Leaf
	state  leafState
	issued *x509.Certificate // nil: the certificate stays
	files  []file            // those that may differ, in the order in which they come into place
}

// plan finds out what has to be done to a leaf.
func (s *Store) plan(ctx context.Context, l Leaf, now time.Time) (change, error) {
	st, err := s.inspect(l, now)
	if err != nil {
		return change{}, fmt.Errorf("check certificate %s: %w", l.Name, err)
	}
	c := change{leaf: l, state: st}
	cert, key := st.cert, st.key
	if st.reason != "" {
		if key == nil {
			if key, err = newKey(); err != nil {
				return change{}, err
			}
		}
		if cert, err = s.issue(ctx, l, key, now); err != nil {
			return change{}, err
		}
		c.issued = cert
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return change{}, err
	}
	certPEM := encodeCertificates(s.chain(cert, l.Authority)...)
	if st.key == nil {
		c.files = append(c.files, file{path: s.KeyFile(l.Name), data: keyPEM})
	}
	if c.issued != nil {
		c.files = append(c.files, file{path: s.CertFile(l.Name), data: certPEM})
	}
	configs, err := s.kubeconfigs(l, certPEM, keyPEM)
	c.files = append(c.files, configs...)
	return c, err
}

// issue makes the certificate of a leaf, or has it made.
func (s *Store) issue(ctx context.Context, l Leaf, key crypto.Signer, now time.Time) (*x509.Certificate, error) {
	issuer := s.authorities[l.Authority]
	if s.remote == nil {
		return issuer.issue(l, key.Public(), s.validity(now).within(issuer.cert))
	}
	cert, err := s.remote(ctx, l, key)
	if err != nil {
		return nil, err
	}
	if err := cert.CheckSignatureFrom(issuer.cert); err != nil {
		return nil, fmt.Errorf("check certificate %s: it was issued by %s: %w", l.Name, cert.Issuer, err)
	}
	if why := s.mismatch(l, s.chain(cert, l.Authority), key); why != "" {
		return nil, fmt.Errorf("check certificate %s: it is not what was asked for: %s", l.Name, why)
	}
	return cert, nil
}

// kubeconfigs returns the kubeconfigs that belong to a leaf.
func (s *Store) kubeconfigs(l Leaf, certPEM, keyPEM []byte) ([]file, error) {
	var files []file
	if l.Kubeconfig != "" {
		ca := s.CAFile(Kubernetes)
		if l.Node {
			ca = s.NodeCAFile()
		}
		data, err := Kubeconfig{Server: l.Server, User: l.CommonName, CAFile: ca, CertFile: s.CertFile(l.Name), KeyFile: s.KeyFile(l.Name)}.Encode()
		if err != nil {
			return nil, err
		}
		files = append(files, file{path: s.KubeconfigFile(l.Name), data: data})
	}
	if l.Export != "" {
		data, err := Kubeconfig{Server: l.Server, User: l.CommonName, CA: s.bundle(), Cert: certPEM, Key: keyPEM}.Encode()
		if err != nil {
			return nil, err
		}
		path := l.Export
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real // the link stays
		}
		files = append(files, file{path: path, data: data, mode: l.ExportMode})
	}
	return files, nil
}

// apply carries changes out: damaged files are put aside, then everything that differs is written together.
func (s *Store) apply(ctx context.Context, now time.Time, all ...change) error {
	var files []file
	for _, c := range all {
		for _, path := range c.state.aside {
			kept := fmt.Sprintf("%s.damaged-%d", path, now.Unix())
			if err := s.disk.rename(path, kept); err != nil {
				return err
			}
			s.log.Warn("put a certificate file aside", "file", path, "kept", kept, "reason", c.state.reason)
		}
		for _, f := range c.files {
			differs, err := f.differs()
			if err != nil {
				return err
			}
			if !differs {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil { //nolint:gosec // /etc/kedge is for all; pki's own directories exist
				return fmt.Errorf("create directory of %s: %w", f.path, err)
			}
			files = append(files, f)
		}
	}
	if err := s.disk.write(ctx, files...); err != nil {
		return err
	}
	for _, c := range all {
		if c.issued != nil && !c.state.missing {
			s.log.Info("issued a certificate anew", "certificate", c.leaf.Name, "reason", c.state.reason,
				"expires", stamp(c.issued.NotAfter), "renewal", stamp(renewAt(c.issued)))
		}
	}
	return nil
}
