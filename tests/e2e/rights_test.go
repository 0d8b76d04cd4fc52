package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kedge/tests/host"
)

// as returns a client of a server's API with other credentials: a node's own certificate, or a token.
func (n *node) as(t *testing.T, of *node, bearer string) *api {
	t.Helper()
	admin := n.mustClient(t)
	transport, ok := admin.http.Transport.(*http.Transport)
	if !ok {
		t.Fatal("the administrator's client has another transport")
	}
	transport = transport.Clone()
	transport.TLSClientConfig.Certificates = nil
	if of != nil {
		dir := of.Path(dataDir + "/agent/tls")
		pair, err := tls.LoadX509KeyPair(dir+"/kubelet-client.crt", dir+"/kubelet-client.key")
		if err != nil {
			t.Fatal(err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return &api{base: admin.base, http: &http.Client{Transport: header{transport, bearer}, Timeout: 10 * time.Second}}
}

// header adds a token to requests.
type header struct {
	http.RoundTripper
	bearer string
}

func (h header) RoundTrip(req *http.Request) (*http.Response, error) {
	if h.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+h.bearer)
	}
	return h.RoundTripper.RoundTrip(req)
}

// request is one line of a table of rights: GET /path, or POST /path and a body.
type request struct {
	method, path, body string
	allowed            bool
}

func (r request) check(t *testing.T, a *api) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, a.base+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	kind := "application/json"
	if r.method == http.MethodPatch {
		kind = "application/merge-patch+json"
	}
	req.Header.Set("Content-Type", kind)
	resp, err := a.http.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if got := resp.StatusCode < 300; got != r.allowed || !got && resp.StatusCode != http.StatusForbidden {
		var text bytes.Buffer
		_, _ = text.ReadFrom(resp.Body)
		t.Errorf("%s %s: %s, want allowed %v: %.200s", r.method, r.path, resp.Status, r.allowed, text.String())
	}
}

// testNodeRights asks with an agent's own certificate.
func testNodeRights(t *testing.T, nodes []*node) {
	server := nodes[0]
	ns := server.namespace(t, "rights")
	server.kubectl(t, "-n", ns, "create", "secret", "generic", "mine", "--from-literal=a=b")
	server.kubectl(t, "-n", ns, "create", "secret", "generic", "theirs", "--from-literal=a=b")
	server.kubectl(t, "-n", ns, "create", "secret", "generic", "nobodys", "--from-literal=a=b")
	for pod, at := range map[string]string{"mine": "host2", "theirs": "host4"} {
		server.apply(t, ns, podYAML(pod, "nodeName: "+at+"\n  volumes: [{name: s, secret: {secretName: "+pod+"}}]", "sleep", "3600"))
	}
	tokenRequest := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[],"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"theirs"}}}`
	a := server.as(t, nodes[1], "")
	host.Eventually(t, 10*time.Second, "the node may read its pod's secret", func() error {
		return a.get(t.Context(), "/api/v1/namespaces/"+ns+"/secrets/mine", nil)
	})
	for _, r := range []request{
		{"GET", "/api/v1/nodes/host2", "", true},
		{"GET", "/api/v1/nodes", "", true},
		{"GET", "/api/v1/services", "", true},
		{"GET", "/apis/discovery.k8s.io/v1/endpointslices", "", true},
		{"GET", "/api/v1/namespaces/kube-system/configmaps/kedge-config", "", true},
		{"PATCH", "/api/v1/nodes/host2", `{"metadata":{"labels":{"shop":"18"}}}`, true},
		{"PATCH", "/api/v1/nodes/host2", `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`, false},
		{"PATCH", "/api/v1/nodes/host2", `{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}`, false},
		{"PATCH", "/api/v1/nodes/host4", `{"metadata":{"labels":{"shop":"18"}}}`, false},
		{"PATCH", "/api/v1/nodes/host4/status", `{"status":{"conditions":[]}}`, false},
		{"DELETE", "/api/v1/nodes/host4", "", false},
		{"DELETE", "/api/v1/nodes/host2", "", false},
		{"POST", "/api/v1/nodes", `{"metadata":{"name":"made-up"}}`, false},
		{"PATCH", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/host4", `{"spec":{"holderIdentity":"host2"}}`, false},
		{"GET", "/api/v1/namespaces/" + ns + "/secrets/theirs", "", false},
		{"GET", "/api/v1/namespaces/" + ns + "/secrets/nobodys", "", false},
		{"GET", "/api/v1/namespaces/" + ns + "/secrets", "", false},
		{"GET", "/api/v1/secrets", "", false},
		{"POST", "/api/v1/namespaces/kube-system/secrets", `{"metadata":{"name":"bootstrap-token-abcdef"},"type":"bootstrap.kubernetes.io/token"}`, false},
		{"GET", "/api/v1/namespaces/kube-system/configmaps", "", false},
		{"PATCH", "/api/v1/namespaces/kube-system/configmaps/kedge-config", `{"data":{"cluster-domain":"x"}}`, false},
		{"POST", "/api/v1/namespaces/" + ns + "/serviceaccounts/default/token", tokenRequest, false},
		{"DELETE", "/api/v1/namespaces/" + ns + "/pods/theirs", "", false},
		{"PATCH", "/api/v1/namespaces/" + ns + "/pods/theirs/status", `{"status":{"phase":"Failed"}}`, false},
		{"POST", "/api/v1/namespaces/" + ns + "/pods", `{"metadata":{"name":"x"},"spec":{"nodeName":"host4","containers":[{"name":"x","image":"x"}]}}`, false},
		{"GET", "/api/v1/namespaces/" + ns + "/pods/theirs/log", "", false},
		{"GET", "/api/v1/nodes/host4/proxy/pods", "", false},
		{"POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"metadata":{"name":"x"}}`, false},
		{"PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval", `{}`, false},
	} {
		r.check(t, a)
	}
}

// testTokenRights asks with a token.
func testTokenRights(t *testing.T, nodes []*node) {
	_, bearer, _ := strings.Cut(nodes[0].token(t), "::")
	a := nodes[0].as(t, nil, bearer)
	for _, r := range []request{
		{"GET", "/api/v1/nodes", "", false},
		{"GET", "/api/v1/pods", "", false},
		{"GET", "/api/v1/namespaces/kube-system/secrets", "", false},
		{"GET", "/api/v1/namespaces/kube-system/configmaps/kedge-config", "", false},
		{"POST", "/api/v1/nodes", `{"metadata":{"name":"made-up"}}`, false},
	} {
		r.check(t, a)
	}
}

// testRequests asks for certificates that are somebody else's, with a node's certificate and with a token.
func testRequests(t *testing.T, nodes []*node) {
	server := nodes[0]
	_, bearer, _ := strings.Cut(server.token(t), "::")
	node, token := server.as(t, nodes[1], ""), server.as(t, nil, bearer)
	client, serving := certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName
	own := nodes[1].IP()
	for _, c := range []struct {
		name, signer, node string
		a                  *api
		names              []string
		ips                []net.IP
		want               string
	}{
		{"its own name", client, "host2", node, nil, nil, "Approved: the node asks for its own name"},
		{"another's name", client, "host4", node, nil, nil, "can only create a node CSR with CN=system:node:host2"},
		{"a server's name", client, "host1", node, nil, nil, "can only create a node CSR with CN=system:node:host2"},
		{"own address", serving, "host2", node, []string{"host2"}, []net.IP{own}, "Approved: the node asks for its own name and addresses"},
		{"another's serving name", serving, "host2", node, []string{"host2", "host4"}, []net.IP{own}, "Denied: the names are"},
		{"the API server's name", serving, "host2", node, []string{"kubernetes.default.svc"}, []net.IP{own}, "Denied: the names are"},
		{"another's address", serving, "host2", node, []string{"host2"}, []net.IP{nodes[3].IP()}, "Denied: the address .* is the node host4's"},
		{"the server's address", serving, "host2", node, []string{"host2"}, []net.IP{own, server.IP()}, "Denied: the address .* belongs to a server"},
		{"the service's address", serving, "host2", node, []string{"host2"}, []net.IP{net.IPv4(10, 43, 0, 1)}, "Denied: the address 10.43.0.1 belongs to a server"},
		{"a pod's address", serving, "host2", node, []string{"host2"}, []net.IP{net.IPv4(10, 42, 7, 7)}, "Denied: the address 10.42.7.7 is one of services or pods"},
		{"loopback", serving, "host2", node, []string{"host2"}, []net.IP{net.IPv4(127, 0, 0, 1)}, "Denied: the address 127.0.0.1 is not the address of a machine"},
		{"a service's name", client, "kubernetes.default.svc", token, nil, nil, "Denied: the name .* belongs to a server"},
		{"serving with a token", serving, "new-one", token, []string{"new-one"}, []net.IP{own}, "Denied: a token asks for a serving certificate"},
		{"not a node", client, "", token, nil, nil, `Denied: "" is not the name of a node`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := server.ask(t, c.a, c.signer, "system:node:"+c.node, c.names, c.ips)
			if !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// ask makes a certificate signing request and returns the decision.
func (n *node) ask(t *testing.T, a *api, signer, user string, names []string, ips []net.IP) string {
	t.Helper()
	usage := certificatesv1.UsageClientAuth
	if signer == certificatesv1.KubeletServingSignerName {
		usage = certificatesv1.UsageServerAuth
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: user, Organization: []string{"system:nodes"}}, DNSNames: names, IPAddresses: ips,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	var made certificatesv1.CertificateSigningRequest
	err = a.do(t.Context(), http.MethodPost, path, certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: signer, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage},
		},
	}, &made)
	if err != nil {
		return err.Error()
	}
	host.Eventually(t, 10*time.Second, "request is decided", func() error {
		if err := a.get(t.Context(), path+"/"+made.Name, &made); err != nil {
			return err
		}
		if len(made.Status.Conditions) == 0 {
			return fmt.Errorf("request %s is undecided", made.Name)
		}
		return nil
	})
	return string(made.Status.Conditions[0].Type) + ": " + made.Status.Conditions[0].Message
}

// testClock shows an agent a server whose certificate is valid in ten years: the agent says so and tries again.
func testClock(t *testing.T, server, n *node, token string) {
	later := serveAs(t, server, time.Now().AddDate(10, 0, 0))
	if err := os.RemoveAll(n.Path(dataDir + "/agent")); err != nil {
		t.Fatal(err)
	}
	n.via = server
	n.startAs(t, "agent", []string{"KEDGE_TOKEN=" + token}, "--node-name", "stranger", "--server", "https://"+later)
	n.waitLog(t, 30*time.Second, `trying again.*the clock of this machine shows 20.*valid from 20.*: set the clock`)
	if code, _ := n.terminate(t); code != 0 {
		t.Errorf("exit status %d of an agent that waits, want 0", code)
	}
}

// serveAs listens on a server's host with a certificate of its cluster that is valid from a given time on.
func serveAs(t *testing.T, server *node, from time.Time) string {
	t.Helper()
	dir := server.Path(dataDir + "/server/tls")
	issuer, err := tls.LoadX509KeyPair(dir+"/kubernetes-ca.crt", dir+"/kubernetes-ca.key")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(dir + "/root.crt")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(root)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: from, NotAfter: from.AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{server.IP()},
	}, issuer.Leaf, key.Public(), issuer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := server.Listen("tcp", server.IP().String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf, issuer.Certificate[0], block.Bytes}, PrivateKey: key}}}
	front := &http.Server{TLSConfig: config, Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = front.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = front.Shutdown(context.Background()); <-done })
	return listener.Addr().String()
}
