package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

func TestListShowsTheTable(t *testing.T) {
	s := ensure(t, options(t))
	infos, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := WriteTable(&buf, infos); err != nil {
		t.Fatal(err)
	}
	golden(t, "list.txt", buf.String())
}

func TestLeavesAreTrustedThroughTheirAuthorityAlone(t *testing.T) {
	s := ensure(t, options(t))
	healthy(t, s)
	anchors := map[AuthorityName]*x509.CertPool{}
	for _, n := range intermediates() {
		anchors[n] = pool(t, s.CAFile(n))
	}
	bundle, nodeBundle := pool(t, s.BundleFile()), pool(t, s.NodeBundleFile())
	for _, l := range s.leaves {
		chain, err := readCertificates(s.CertFile(l.Name))
		if err != nil {
			t.Fatal(err)
		}
		for n, anchor := range anchors {
			if err := verify(chain, anchor, l.Usages[0]); (err == nil) != (n == l.Authority) {
				t.Errorf("%s, issued by %s, checked with %s: %v", l.Name, l.Authority, n, err)
			}
		}
		for _, p := range []*x509.CertPool{bundle, nodeBundle} {
			if err := verify(chain, p, l.Usages[0]); err != nil {
				t.Errorf("%s checked with the bundle: %v", l.Name, err)
			}
		}
		if sum := sha256.Sum256(chain[len(chain)-1].Raw); len(chain) != 3 || hex.EncodeToString(sum[:]) != s.RootFingerprint() {
			t.Errorf("%s: its chain of %d does not end at the root", l.Name, len(chain))
		}
		for _, u := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if err := verify(chain, anchors[l.Authority], u); (err == nil) != slices.Contains(l.Usages, u) {
				t.Errorf("%s: usage %v: %v", l.Name, u, err)
			}
		}
	}
}

func TestFrontProxyAuthorityMakesNoServers(t *testing.T) {
	s := ensure(t, options(t))
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	front := s.authorities[FrontProxy]
	l := Leaf{Name: "x", CommonName: "x", DNSNames: []string{"kubernetes"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	cert, err := front.issue(l, key.Public(), s.validity(noon))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify([]*x509.Certificate{cert, front.cert}, pool(t, s.BundleFile()), x509.ExtKeyUsageServerAuth); err == nil {
		t.Error("a server certificate of the front-proxy authority is trusted")
	}
}

func TestLifetimes(t *testing.T) {
	s := ensure(t, options(t))
	root, leaf := s.authorities[Root].cert, leafOf(t, s, Admin)
	for _, c := range []struct {
		what      string
		got, want time.Time
	}{
		{"root from", root.NotBefore, noon.Add(-24 * time.Hour)},
		{"root to", root.NotAfter, noon.Add(20 * 365 * 24 * time.Hour)},
		{"etcd to", s.authorities[Etcd].cert.NotAfter, root.NotAfter},
		{"leaf from", leaf.NotBefore, noon.Add(-24 * time.Hour)},
		{"leaf to", leaf.NotAfter, noon.Add(365 * 24 * time.Hour)},
		{"renewal", renewAt(leaf), noon.Add(-24 * time.Hour).Add(366 * 24 * time.Hour * 2 / 3)},
	} {
		if !c.got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestFilesAreClosedToOthers(t *testing.T) {
	o := options(t)
	if err := os.MkdirAll(o.ServerDir, 0o755); err != nil { // an empty directory of somebody else's making is taken over
		t.Fatal(err)
	}
	s := ensure(t, o)
	for _, dir := range s.dirs() {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNodeLeavesNeedANode(t *testing.T) {
	o := options(t)
	o.AgentDir = ""
	s := ensure(t, o)
	healthy(t, s)
	if len(s.leaves) != len(o.Leaves)-2 {
		t.Errorf("%d leaves of %d", len(s.leaves), len(o.Leaves))
	}
}

func TestKubeconfigs(t *testing.T) {
	o := options(t)
	p := params()
	p.AdminKubeconfig = filepath.Join(dataDir(o), "etc", "kubeconfig.yaml")
	p.AdminKubeconfigMode = 0o640
	p.AdminServer = "https://192.0.2.10:6443"
	o.Leaves = ServerLeaves(p)
	s := ensure(t, o)

	data, err := os.ReadFile(s.KubeconfigFile(KubeletClient))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "kubelet.kubeconfig", hide(o, string(data)))

	admin, err := clientcmd.LoadFromFile(p.AdminKubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*admin, nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(s.BundleFile())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(s.CertFile(Admin))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, config.Host, p.AdminServer)
	equal(t, string(config.CAData), string(bundle))
	equal(t, string(config.CertData), string(cert))
	info, err := os.Stat(p.AdminKubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, info.Mode().String(), "-rw-r-----")
	equal(t, s.KubeconfigFile(Admin), "")
}

func pool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(data) {
		t.Fatalf("no certificate in %s", file)
	}
	return p
}

// verify checks a chain as the other side of a connection would.
func verify(chain []*x509.Certificate, anchors *x509.CertPool, usage x509.ExtKeyUsage) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: anchors, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: noon})
	return err
}
