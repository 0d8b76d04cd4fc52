package pki

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// overdue is how long after its time a renewal is not yet called a problem: nobody renews while kedge does not run.
const overdue = 24 * time.Hour

// Info describes one certificate on disk.
type Info struct {
	Name      string        `json:"name"`
	Authority AuthorityName `json:"authority,omitempty"` // empty if it is none of ours
	CA        bool          `json:"ca,omitempty"`
	Subject   string        `json:"subject,omitempty"`
	SANs      []string      `json:"sans,omitempty"`
	NotBefore time.Time     `json:"notBefore,omitzero"`
	NotAfter  time.Time     `json:"notAfter,omitzero"`
	RenewAt   time.Time     `json:"renewAt,omitzero"` // zero for authorities, which are not renewed
	File      string        `json:"file"`
	Problem   string        `json:"problem,omitempty"`
}

// ListDir describes the certificates in the directories of a server and a node, either of which may be missing: authorities first,
// then leaves by name. It needs no running process. What cannot be read is listed with a problem.
func ListDir(serverDir, agentDir string, now time.Time) ([]Info, error) {
	issuers := knownAuthorities(serverDir, agentDir)
	infos := []Info{}
	for _, dir := range distinct([]string{serverDir, agentDir}) {
		if dir == "" {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list certificates: %w", err)
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), ".crt")
			if !ok || strings.HasPrefix(name, ".") || e.Name() == bundleFile || dir == agentDir && name == Kubernetes.base() {
				continue
			}
			infos = append(infos, describe(name, filepath.Join(dir, name), issuers, now))
		}
	}
	order := append([]AuthorityName{Root}, intermediates()...)
	rank := func(i Info) int {
		r := slices.IndexFunc(order, func(n AuthorityName) bool { return n.base() == i.Name })
		if r < 0 {
			return len(order)
		}
		return r
	}
	slices.SortFunc(infos, func(a, b Info) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name)) })
	return infos, nil
}

// knownAuthorities reads those authorities that can be read.
func knownAuthorities(serverDir, agentDir string) map[AuthorityName]*x509.Certificate {
	known := map[AuthorityName]*x509.Certificate{}
	for _, dir := range []string{agentDir, serverDir} {
		for _, n := range append([]AuthorityName{Root}, intermediates()...) {
			if certs, err := readCertificates(filepath.Join(dir, n.base()+".crt")); err == nil {
				known[n] = certs[0]
			}
		}
	}
	return known
}

// describe reads one certificate and its key; path is without extension.
func describe(name, path string, issuers map[AuthorityName]*x509.Certificate, now time.Time) Info {
	info := Info{Name: name, File: path + ".crt"}
	certs, err := readCertificates(info.File)
	if err != nil {
		info.Problem = err.Error()
		return info
	}
	cert := certs[0]
	for n, issuer := range issuers {
		if cert.CheckSignatureFrom(issuer) == nil {
			info.Authority = n
		}
	}
	info.CA, info.Subject, info.SANs = cert.IsCA, cert.Subject.String(), slices.Clone(cert.DNSNames)
	for _, a := range addrs(cert) {
		info.SANs = append(info.SANs, a.String())
	}
	info.NotBefore, info.NotAfter = cert.NotBefore, cert.NotAfter
	if !cert.IsCA {
		info.RenewAt = renewAt(cert)
	}
	info.Problem = problem(info, cert, path+".key", now)
	return info
}

// problem says what is wrong with a certificate that can be read, or nothing.
func problem(info Info, cert *x509.Certificate, keyFile string, now time.Time) string {
	key, err := readKey(keyFile)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case info.Authority == "":
		return "issued by " + cert.Issuer.String() + ", which is no authority of this cluster"
	case missing && info.Name == Root.base(): // kept elsewhere
	case missing:
		return keyFile + ": no such file"
	case err != nil:
		return err.Error()
	case !samePublicKey(cert.PublicKey, key.Public()):
		return "does not belong to its key"
	}
	switch {
	case now.Before(cert.NotBefore):
		return "not valid before " + stamp(cert.NotBefore) + ": is the clock right?"
	case now.After(cert.NotAfter):
		return "expired"
	case !cert.IsCA && now.After(info.RenewAt.Add(overdue)):
		return "renewal is overdue"
	}
	return ""
}
