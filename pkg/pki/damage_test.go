package pki

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func spoil(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func swap(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, a, string(y))
	spoil(t, b, string(x))
}

func TestDamagedAuthoritiesAreRefused(t *testing.T) {
	const advice = ": restore this file from a backup of DATA/server/tls, or end the cluster with `kedge reset`; nothing was changed"
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, s *Store)
		want   string
	}{
		{"root emptied", func(t *testing.T, s *Store) { t.Helper(); spoil(t, s.CAFile(Root), "") },
			"load root keys: DATA/server/tls/root.crt: found no PEM certificate in its 0 bytes" + advice},
		{"root gone", func(t *testing.T, s *Store) { t.Helper(); remove(t, s.CAFile(Root)) },
			"load root keys: DATA/server/tls/root.crt: found no such file, although other authorities are beside it" + advice},
		{"intermediate's key gone", func(t *testing.T, s *Store) { t.Helper(); remove(t, s.CAKeyFile(Kubernetes)) },
			"load kubernetes keys: DATA/server/tls/kubernetes-ca.key: found no such file, although other authorities are beside it" + advice},
		{"intermediate's key damaged", func(t *testing.T, s *Store) { t.Helper(); spoil(t, s.CAKeyFile(Etcd), "x") },
			"load etcd keys: DATA/server/tls/etcd-ca.key: found no PEM private key in its 1 bytes" + advice},
		{"keys exchanged", func(t *testing.T, s *Store) { t.Helper(); swap(t, s.CAKeyFile(Etcd), s.CAKeyFile(Kubernetes)) },
			"load kubernetes keys: DATA/server/tls/kubernetes-ca.key: found a key that does not belong to kubernetes-ca.crt" + advice},
		{"another cluster's root", func(t *testing.T, s *Store) {
			t.Helper()
			other := ensure(t, options(t))
			swap(t, s.CAFile(Root), other.CAFile(Root))
			swap(t, s.CAKeyFile(Root), other.CAKeyFile(Root))
		}, "load kubernetes keys: DATA/server/tls/kubernetes-ca.crt: found a certificate that root.crt did not issue" + advice},
		{"a leaf for an authority", func(t *testing.T, s *Store) { t.Helper(); swap(t, s.CAFile(FrontProxy), s.CertFile(FrontProxyClient)) },
			"load front-proxy keys: DATA/server/tls/front-proxy-ca.crt: found 3 certificates instead of one" + advice},
		{"service account's key damaged", func(t *testing.T, s *Store) { t.Helper(); spoil(t, s.ServiceAccountKeyFile(), "") },
			"load service account keys: DATA/server/tls/service-account.key: found no PEM private key in its 0 bytes" + advice},
		{"service account's public key gone", func(t *testing.T, s *Store) { t.Helper(); remove(t, s.ServiceAccountPublicKeyFile()) },
			"load service account keys: DATA/server/tls/service-account.pub: found no such file, although other authorities are beside it" + advice},
		{"service account's keys differ", func(t *testing.T, s *Store) { t.Helper(); swap(t, s.ServiceAccountKeyFile(), s.KeyFile(Admin)) },
			"load service account keys: DATA/server/tls/service-account.pub: found no public key that belongs to service-account.key" + advice},
		{"all authorities gone", func(t *testing.T, s *Store) {
			t.Helper()
			for _, f := range authorityFiles() {
				remove(t, filepath.Join(s.serverDir, f))
			}
		}, "create certificate authorities: DATA/server/tls holds admin.crt but no authority: restore root.crt, the *-ca.* and the service-account.* files " +
			"from a backup, or move the directory away to begin a new cluster; nothing was changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t)
			c.damage(t, ensure(t, o))
			before := tree(t, o)
			_, err := Ensure(t.Context(), o)
			if err == nil {
				t.Fatal("no error")
			}
			equal(t, hide(o, err.Error()), c.want)
			if diff := cmp.Diff(before, tree(t, o)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRootKeyMayBeElsewhere(t *testing.T) {
	o := options(t)
	s := ensure(t, o)
	remove(t, s.CAKeyFile(Root))
	healthy(t, ensure(t, o))
}

func TestServiceAccountMayHaveFormerKeys(t *testing.T) {
	o := options(t)
	s, other := ensure(t, o), ensure(t, options(t))
	former, err := os.ReadFile(other.ServiceAccountPublicKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(s.ServiceAccountPublicKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, s.ServiceAccountPublicKeyFile(), string(former)+string(own))
	ensure(t, o)
}

func TestLeavesAreMended(t *testing.T) {
	const times = " expires=2027-03-01T12:00:00Z renewal=2026-10-30T12:00:00Z\n"
	const admin = "level=INFO msg=\"issued a certificate anew\" certificate=admin reason="
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, s *Store)
		want   string // the log
		kept   string // the file put aside
	}{
		{"nothing", func(t *testing.T, _ *Store) { t.Helper() }, "", ""},
		{"certificate damaged", func(t *testing.T, s *Store) { t.Helper(); spoil(t, s.CertFile(Admin), "x") },
			"level=WARN msg=\"put a certificate file aside\" file=DATA/server/tls/admin.crt kept=DATA/server/tls/admin.crt.damaged-1772366400 " +
				"reason=\"the certificate is damaged\"\n" + admin + "\"the certificate is damaged\"" + times, "admin.crt"},
		{"key damaged", func(t *testing.T, s *Store) { t.Helper(); spoil(t, s.KeyFile(Admin), "") },
			"level=WARN msg=\"put a certificate file aside\" file=DATA/server/tls/admin.key kept=DATA/server/tls/admin.key.damaged-1772366400 " +
				"reason=\"the key is damaged\"\n" + admin + "\"the key is damaged\"" + times, "admin.key"},
		{"certificate gone", func(t *testing.T, s *Store) { t.Helper(); remove(t, s.CertFile(Admin)) }, "", ""},
		{"key gone", func(t *testing.T, s *Store) { t.Helper(); remove(t, s.KeyFile(Admin)) },
			admin + "\"the key is missing\"" + times, ""},
		{"key of another leaf", func(t *testing.T, s *Store) {
			t.Helper()
			data, err := os.ReadFile(s.KeyFile(Scheduler))
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, s.KeyFile(Admin), string(data))
		}, admin + "\"the certificate does not belong to the key\"" + times, ""},
		{"another authority's certificate", func(t *testing.T, s *Store) {
			t.Helper()
			data, err := os.ReadFile(s.CertFile(EtcdPeer))
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, s.CertFile(Admin), string(data))
		}, "level=WARN msg=\"put a certificate file aside\" file=DATA/server/tls/admin.crt kept=DATA/server/tls/admin.crt.damaged-1772366400 " +
			"reason=\"the certificate was issued by CN=kedge-etcd\"\n" + admin + "\"the certificate was issued by CN=kedge-etcd\"" + times, "admin.crt"},
		{"chain cut", func(t *testing.T, s *Store) {
			t.Helper()
			spoil(t, s.CertFile(Admin), string(encodeCertificates(leafOf(t, s, Admin))))
		},
			admin + "\"the chain to the root has changed\"" + times, ""},
		{"bundle gone", func(t *testing.T, s *Store) { t.Helper(); remove(t, s.BundleFile()); spoil(t, s.NodeCAFile(), "x") }, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t)
			s := ensure(t, o)
			c.damage(t, s)
			spoilt, log := tree(t, o), logTo(&o)
			healthy(t, ensure(t, o))
			equal(t, hide(o, log.String()), c.want)
			if c.kept != "" {
				equal(t, tree(t, o)["server/tls/"+c.kept+".damaged-1772366400"], spoilt["server/tls/"+c.kept])
			}
		})
	}
}

func TestLeavesFollowTheTable(t *testing.T) {
	o := options(t)
	ensure(t, o)
	before := tree(t, o)
	p := params()
	p.NodeIPs[0] = netip.MustParseAddr("192.0.2.99")
	p.APIServer = "https://127.0.0.1:7443"
	o.Leaves = ServerLeaves(p)
	log := logTo(&o)
	s := ensure(t, o)
	healthy(t, s)
	const reason, times = " reason=\"the names or addresses have changed\"", " expires=2027-03-01T12:00:00Z renewal=2026-10-30T12:00:00Z\n"
	want := ""
	for _, name := range []string{APIServer, EtcdServer, EtcdPeer, KubeletServer} {
		want += "level=INFO msg=\"issued a certificate anew\" certificate=" + name + reason + times
	}
	equal(t, log.String(), want)
	equal(t, tree(t, o)["server/tls/apiserver.key"], before["server/tls/apiserver.key"])
	if err := leafOf(t, s, APIServer).VerifyHostname("192.0.2.99"); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(s.KubeconfigFile(Scheduler))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(p.APIServer)) {
		t.Errorf("the kubeconfig keeps the former server:\n%s", data)
	}
}

func TestAnImpossibleNameIsAnError(t *testing.T) {
	o := options(t)
	p := params()
	p.TLSSANs = []string{"kedgé"}
	o.Leaves = ServerLeaves(p)
	_, err := Ensure(t.Context(), o)
	if err == nil {
		t.Fatal("no error")
	}
	equal(t, err.Error(), `issue certificate apiserver for the names ["kubernetes" "kubernetes.default" "kubernetes.default.svc" `+
		`"kubernetes.default.svc.cluster.local" "localhost" "node-1" "kedgé"]: sign certificate: x509: "kedgé" cannot be encoded as an IA5String`)
}

func TestListNamesProblems(t *testing.T) {
	o := options(t)
	s := ensure(t, o)
	spoil(t, s.CertFile(Admin), "x")
	spoil(t, s.KeyFile(EtcdPeer), "x")
	remove(t, s.KeyFile(KubeletClient))
	foreign, err := os.ReadFile(ensure(t, options(t)).CertFile(Scheduler))
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, s.CertFile(Scheduler), string(foreign))
	for _, c := range []struct {
		at   time.Time
		want map[string]string
	}{
		{noon, map[string]string{
			Admin:         "DATA/server/tls/admin.crt: found no PEM certificate in its 1 bytes",
			EtcdPeer:      "DATA/server/tls/etcd-peer.key: found no PEM private key in its 1 bytes",
			KubeletClient: "DATA/agent/tls/kubelet-client.key: no such file",
			Scheduler:     "issued by CN=kedge-kubernetes, which is no authority of this cluster",
		}},
		{noon.Add(300 * 24 * time.Hour), map[string]string{APIServer: "renewal is overdue"}},
		{noon.Add(400 * 24 * time.Hour), map[string]string{APIServer: "expired", "root": ""}},
		{noon.Add(-48 * time.Hour), map[string]string{
			APIServer: "not valid before 2026-02-28T12:00:00Z: is the clock right?",
			"root":    "not valid before 2026-02-28T12:00:00Z: is the clock right?",
		}},
	} {
		infos, err := ListDir(o.ServerDir, o.AgentDir, c.at)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, i := range infos {
			if _, ok := c.want[i.Name]; ok {
				got[i.Name] = hide(o, i.Problem)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("at %s (-want +got):\n%s", c.at, diff)
		}
	}
	none, err := ListDir(filepath.Join(dataDir(o), "none"), "", noon)
	if err != nil || len(none) != 0 {
		t.Errorf("a directory that is not there: %v, %v", none, err)
	}
}
