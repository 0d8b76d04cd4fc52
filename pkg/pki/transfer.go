package pki

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// rootKeyFile stays on the machine where the cluster was made; see Export.
const rootKeyFile = "root.key"

// rootFingerprint is the SHA-256 of the root certificate in dir, in hexadecimal.
func rootFingerprint(dir string) (string, error) {
	certs, err := readCertificates(filepath.Join(dir, "root.crt"))
	if err != nil {
		return "", fmt.Errorf("read root certificate: %w", err)
	}
	sum := sha256.Sum256(certs[0].Raw)
	return hex.EncodeToString(sum[:]), nil
}

// Have tells whether dir holds a cluster's authorities.
func Have(dir string) (bool, error) {
	real, err := resolve(dir)
	if err != nil {
		return false, err
	}
	return findAuthorities(real)
}

// Export reads what a further server of the cluster needs to issue its certificates and to sign service account tokens, by
// file name. The root's key is not among it: nothing needs it while the intermediates live, and they live as long as the root.
func Export(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range authorityFiles() {
		if name == rootKeyFile {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read certificate authorities: %w", err)
		}
		files[name] = data
	}
	return files, nil
}

// Adopt puts another server's authorities into dir, which must not hold any. They are checked first: all must be there, belong
// together, be valid now and come from the root with the given fingerprint. Nothing is in dir before everything is.
func Adopt(ctx context.Context, dir string, files map[string][]byte, fingerprint string) error {
	d := disk{workers: syncWorkers}
	dir, err := resolve(dir)
	if err != nil {
		return err
	}
	if found, err := findAuthorities(dir); err != nil || found {
		return errors.Join(err, fmt.Errorf("adopt certificate authorities: %s holds some already; nothing was changed", dir))
	}
	staging := dir + ".new"
	if err := os.RemoveAll(staging); err != nil {
		return fmt.Errorf("remove unfinished certificate authorities: %w", err)
	}
	if err := d.makeDir(staging); err != nil {
		return err
	}
	var all []file
	for name, data := range files {
		if !slices.Contains(authorityFiles(), name) {
			return fmt.Errorf("adopt certificate authorities: %q is not one of their files", name)
		}
		all = append(all, file{path: filepath.Join(staging, name), data: data})
	}
	if err := d.write(ctx, all...); err != nil {
		return err
	}
	if err := checkAdopted(staging, fingerprint); err != nil {
		return errors.Join(err, os.RemoveAll(staging))
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make room for certificate authorities: %w", err)
	}
	if err := d.rename(staging, dir); err != nil {
		return fmt.Errorf("put certificate authorities into place (%s must not be a mount point itself): %w", dir, err)
	}
	return d.syncDir(filepath.Dir(dir))
}

func checkAdopted(staging, fingerprint string) error {
	if _, err := loadAuthorities(staging, time.Now()); err != nil {
		return err
	}
	found, err := rootFingerprint(staging)
	if err != nil {
		return err
	}
	if found != fingerprint {
		return fmt.Errorf("adopt certificate authorities: their root has the fingerprint %s, and not %s", found, fingerprint)
	}
	return nil
}
