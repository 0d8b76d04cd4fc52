package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"kedge/tests/host"
)

// shortLife is what certificates have left after shorten. They are due for renewal at half of that, long after the agent's start.
const shortLife = time.Minute

// shorten stops an agent, gives it certificates that end soon, and starts it. It returns when they end.
func shorten(t *testing.T, server, n *node) time.Time {
	t.Helper()
	if code, _ := n.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	ca, err := tls.LoadX509KeyPair(server.Path(dataDir+"/server/tls/kubernetes-ca.crt"), server.Path(dataDir+"/server/tls/kubernetes-ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, name := range []string{"kubelet-client", "kubelet-server"} {
		file := n.Path(dataDir + "/agent/tls/" + name + ".crt")
		cert, chain := certificateIn(t, file)
		cert.NotBefore, cert.NotAfter = now.Add(-shortLife/2), now.Add(shortLife)
		cert.SerialNumber = new(big.Int).Add(cert.SerialNumber, big.NewInt(1))
		der, err := x509.CreateCertificate(rand.Reader, cert, ca.Leaf, cert.PublicKey, ca.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), chain...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.join(t, server, "")
	return now.Add(shortLife)
}

// certificateIn reads a certificate, and what follows it in its file.
func certificateIn(t *testing.T, file string) (cert *x509.Certificate, chain []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, chain := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no certificate", file)
	}
	if cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return cert, chain
}

// testRenewal waits until a running agent has renewed its certificates and the former ones have ended: it goes on as a node, and the
// API server still believes its kubelet.
func testRenewal(t *testing.T, server, n *node, end time.Time) {
	for _, name := range []string{"kubelet-client", "kubelet-server"} {
		n.waitLog(t, startLimit, `issued a certificate anew.* certificate=`+name+` reason="two thirds of its life are over"`)
		if cert, _ := certificateIn(t, n.Path(dataDir+"/agent/tls/"+name+".crt")); time.Until(cert.NotAfter) < 300*24*time.Hour {
			t.Errorf("%s ends at %s", name, cert.NotAfter)
		}
	}
	if log := n.log(t); strings.Index(log, "issued a certificate anew") < strings.LastIndex(log, "node is ready") {
		t.Error("the certificates were renewed at the start and not while the agent ran")
	}
	host.Eventually(t, startLimit, "lease renewed after the former certificates' end", func() error {
		var lease coordinationv1.Lease
		if err := server.mustClient(t).get(t.Context(), "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+n.Name, &lease); err != nil {
			return err
		}
		if lease.Spec.RenewTime == nil || !lease.Spec.RenewTime.After(end) {
			return fmt.Errorf("renewed at %s, the former certificates end at %s", lease.Spec.RenewTime, end)
		}
		return errors.Join(n.alive(), n.isReady(t.Context()))
	})
	if got := server.kubectl(t, "get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/healthz"); got != "ok" {
		t.Errorf("the API server reads %q from the kubelet", got)
	}
}
