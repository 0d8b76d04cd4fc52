package approve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"net"
	"net/url"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

const (
	clientSigner  = certificatesv1.KubeAPIServerClientKubeletSignerName
	servingSigner = certificatesv1.KubeletServingSignerName
)

func tokenUser() []string {
	return []string{"system:bootstrap:abc123", "system:bootstrappers:kedge:agent"}
}

// signing returns a request of a user, its groups behind its name.
func signing(t *testing.T, name, signer string, user []string, template x509.CertificateRequest, usages ...certificatesv1.KeyUsage) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: signer, Username: user[0], Groups: user[1:], Usages: usages,
		},
	}
}

func subject(node string) x509.CertificateRequest {
	return x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}}
}

// TestParse: what is not a kubelet's request is left alone, what is a wrong one is refused.
func TestParse(t *testing.T) {
	const digital, client, server = certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth, certificatesv1.UsageServerAuth
	named := subject("edge")
	named.DNSNames = []string{"edge"}
	mail := subject("edge")
	mail.URIs = []*url.URL{{Scheme: "spiffe", Host: "edge"}}
	admin := x509.CertificateRequest{Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}}
	both := subject("edge")
	both.Subject.Organization = append(both.Subject.Organization, "system:masters")
	for _, c := range []struct {
		name, signer string
		user         []string
		template     x509.CertificateRequest
		usages       []certificatesv1.KeyUsage
		want         string
	}{
		{"client", clientSigner, tokenUser(), subject("edge"), []certificatesv1.KeyUsage{digital, client}, ""},
		{"serving", servingSigner, []string{"system:node:edge", "system:nodes"}, named, []certificatesv1.KeyUsage{digital, server}, ""},
		{"other signer", "kubernetes.io/kube-apiserver-client", tokenUser(), subject("edge"), []certificatesv1.KeyUsage{client}, "not a kubelet's request"},
		{"other user", clientSigner, []string{"jane"}, subject("edge"), []certificatesv1.KeyUsage{client}, "not a kubelet's request"},
		{"node without its group", clientSigner, []string{"system:node:edge"}, subject("edge"), []certificatesv1.KeyUsage{client}, "not a kubelet's request"},
		{"other subject", clientSigner, tokenUser(), admin, []certificatesv1.KeyUsage{client},
			`the subject is "CN=admin,O=system:masters"; want a common name system:node:NAME and the organization system:nodes`},
		{"a group more", clientSigner, tokenUser(), both, []certificatesv1.KeyUsage{client},
			`the subject is "CN=system:node:edge,O=system:nodes+O=system:masters"; want a common name system:node:NAME and the organization system:nodes`},
		{"no name", clientSigner, tokenUser(), subject("a b"), []certificatesv1.KeyUsage{client}, `"a b" is not the name of a node`},
		{"other usage", clientSigner, tokenUser(), subject("edge"), []certificatesv1.KeyUsage{client, server}, `the usage "server auth" is not for this signer`},
		{"no usage", clientSigner, tokenUser(), subject("edge"), []certificatesv1.KeyUsage{digital}, `the usage "client auth" is missing`},
		{"names for a client", clientSigner, tokenUser(), named, []certificatesv1.KeyUsage{client}, "the alternative names are not for this signer"},
		{"URI", servingSigner, []string{"system:node:edge", "system:nodes"}, mail, []certificatesv1.KeyUsage{server}, "the alternative names are not for this signer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(signing(t, "x", c.signer, c.user, c.template, c.usages...))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestPass follows a name: given to one machine, held back from the next, refused while its node reports.
func TestPass(t *testing.T) {
	renewed := metav1.NewMicroTime(time.Now())
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "edge", Namespace: "kube-node-lease"}, Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}}
	client := fake.NewClientset()
	a := &approver{
		Config: Config{Reserved: func() (Reserved, error) { return Reserved{}, nil }, Log: slog.New(slog.DiscardHandler)},
		client: client, watched: map[string]*watched{}, given: map[string]gift{},
	}
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	requests := client.CertificatesV1().CertificateSigningRequests()
	add := func(r *certificatesv1.CertificateSigningRequest) {
		if _, err := requests.Create(t.Context(), r, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(name, want string, waits bool) {
		t.Helper()
		list, err := requests.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.Items {
			if err := store.Add(&r); err != nil {
				t.Fatal(err)
			}
		}
		if got := a.pass(t.Context(), store); got != waits {
			t.Errorf("%s: waits %v, want %v", name, got, waits)
		}
		r, err := requests.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range r.Status.Conditions {
			got += string(c.Type) + ": " + c.Message
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	add(signing(t, "first", clientSigner, tokenUser(), subject("edge"), certificatesv1.UsageClientAuth))
	pass("first", "Approved: there is no node of this name", false)
	add(signing(t, "second", clientSigner, tokenUser(), subject("edge"), certificatesv1.UsageClientAuth))
	pass("second", "", true)
	if _, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "edge"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	leases := client.CoordinationV1().Leases("kube-node-lease")
	if _, err := leases.Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pass("second", "", true)
	next := metav1.NewMicroTime(renewed.Add(10 * time.Second))
	lease.Spec.RenewTime = &next
	if _, err := leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	pass("second", "Denied: a live node has the name edge; give this machine another --node-name", false)
	template := subject("shop")
	template.DNSNames, template.IPAddresses = []string{"shop"}, []net.IP{net.IPv4(192, 0, 2, 7)}
	add(signing(t, "third", servingSigner, []string{"system:node:shop", "system:nodes"}, template, certificatesv1.UsageServerAuth))
	pass("third", "Denied: the address 192.0.2.7 is the node edge's; give this machine another --node-ip", false)
	silent := corev1.NodeStatus{
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.8"}},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}},
	}
	old := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Status: silent}
	server := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "server", Labels: map[string]string{ServerLabel: "true"}}, Status: silent}
	template.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 8)}
	for _, c := range []struct {
		request, want string
		node          *corev1.Node
	}{
		{"fourth", "Approved: the node asks for its own name and addresses", old},
		{"fifth", "Denied: the address 192.0.2.8 is the node server's; give this machine another --node-ip", server},
	} {
		if _, err := client.CoreV1().Nodes().Create(t.Context(), c.node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		add(signing(t, c.request, servingSigner, []string{"system:node:shop", "system:nodes"}, template, certificatesv1.UsageServerAuth))
		pass(c.request, c.want, false)
	}
	if len(a.watched) > 0 {
		t.Errorf("still watched: %v", a.watched)
	}
}
