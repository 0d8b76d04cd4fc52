package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	bundleFile            = "ca-bundle.crt"
	serviceAccountKeyFile = "service-account.key"
	serviceAccountPubFile = "service-account.pub"
)

// intermediates returns what the root issues.
func intermediates() []AuthorityName { return []AuthorityName{Kubernetes, Etcd, FrontProxy} }

// base is the file name of an authority without extension.
func (n AuthorityName) base() string {
	if n == Root {
		return string(Root)
	}
	return string(n) + "-ca"
}

// authorityFiles returns the names of the files that exist together or not at all.
func authorityFiles() []string {
	names := []string{"root.crt", "root.key"}
	for _, n := range intermediates() {
		names = append(names, n.base()+".crt", n.base()+".key")
	}
	return append(names, serviceAccountKeyFile, serviceAccountPubFile)
}

// findAuthorities tells whether dir holds a cluster's authorities. A directory with other files alone is an error.
func findAuthorities(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for certificate authorities: %w", err)
	}
	for _, name := range authorityFiles() {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("look for certificate authorities: %w", err)
		}
	}
	return false, fmt.Errorf("create certificate authorities: %s holds %s but no authority: restore root.crt, the *-ca.* and the service-account.* files "+
		"from a backup, or move the directory away to begin a new cluster; nothing was changed", dir, entries[0].Name())
}

// createAuthorities makes the authorities and the service account key beside dir and renames them into place in one step.
func (d disk) createAuthorities(ctx context.Context, dir string, v validity) error {
	root, err := newAuthority(Root, nil, v)
	if err != nil {
		return err
	}
	all := []*authority{root}
	for _, name := range intermediates() {
		a, err := newAuthority(name, root, v)
		if err != nil {
			return err
		}
		all = append(all, a)
	}
	staging := dir + ".new"
	if err := d.step("remove", staging); err != nil {
		return err
	}
	if err := os.RemoveAll(staging); err != nil {
		return fmt.Errorf("remove unfinished certificate authorities: %w", err)
	}
	if err := d.makeDir(staging); err != nil {
		return err
	}
	files, err := encodeAuthorities(staging, all)
	if err != nil {
		return err
	}
	if err := d.write(ctx, files...); err != nil {
		return err
	}
	if err := d.rename(staging, dir); err != nil {
		return fmt.Errorf("put certificate authorities into place (%s must not be a mount point itself): %w", dir, err)
	}
	return d.syncDir(filepath.Dir(dir))
}

// encodeAuthorities returns the files of a new cluster.
func encodeAuthorities(dir string, all []*authority) ([]file, error) {
	var files []file
	add := func(name string, data []byte) {
		files = append(files, file{path: filepath.Join(dir, name), data: data})
	}
	for _, a := range all {
		key, err := encodeKey(a.key)
		if err != nil {
			return nil, err
		}
		add(a.name.base()+".key", key)
		add(a.name.base()+".crt", encodeCertificates(a.cert))
	}
	account, err := newKey()
	if err != nil {
		return nil, err
	}
	key, err := encodeKey(account)
	if err != nil {
		return nil, err
	}
	pub, err := encodePublicKey(account.Public())
	if err != nil {
		return nil, err
	}
	add(serviceAccountKeyFile, key)
	add(serviceAccountPubFile, pub)
	return files, nil
}

// encodeBundle returns ca-bundle.crt.
func encodeBundle(kubernetes, root *x509.Certificate) []byte {
	return encodeCertificates(kubernetes, root)
}
