package join

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"

	"kedge/pkg/join/token"
	"kedge/pkg/pki"
)

const (
	// requestTimeout bounds a request that is no watch.
	requestTimeout = 10 * time.Second
	// rightsTimeout is how long a refusal may be due to a server that has not read its roles yet.
	rightsTimeout = 20 * time.Second
)

// Kubeconfig is the file with the node's identity.
func (m *Member) Kubeconfig() string { return filepath.Join(m.Dir, m.leaves(nil)[0].Kubeconfig) }

// issue has a certificate made: with the node's own identity if it is good for it, else with the token.
func (m *Member) issue(ctx context.Context, l pki.Leaf, key crypto.Signer) (*x509.Certificate, error) {
	request, err := encodeRequest(l, key)
	if err != nil {
		return nil, err
	}
	client, asNode, err := m.clientFor(l)
	if err != nil {
		return nil, err
	}
	if !asNode {
		m.Log.Info("asking to join the cluster", "server", m.Server, "node", m.NodeName)
	}
	a := attempt{Member: m, client: client, asNode: asNode, began: time.Now()}
	var issued *x509.Certificate
	err = retry(ctx, m.Log, "get certificate "+l.Name, func(ctx context.Context) (err error) {
		issued, err = a.run(ctx, l, request)
		return err
	})
	return issued, err
}

// clientFor returns a client with the node's identity, when it is still good and of this name, or with the token.
func (m *Member) clientFor(l pki.Leaf) (client kubernetes.Interface, asNode bool, err error) {
	if own, err := cert.CertsFromFile(filepath.Join(m.Dir, pki.KubeletClient+".crt")); err == nil {
		if own[0].Subject.CommonName == l.CommonName && time.Now().Before(own[0].NotAfter) {
			client, err := m.client()
			return client, true, err
		}
	}
	t, err := m.token()
	if err != nil {
		return nil, false, err
	}
	client, err = m.tokenClient(t)
	return client, false, err
}

// tokenClient has the rights of a token.
func (m *Member) tokenClient(t token.Token) (kubernetes.Interface, error) {
	return newClient(&rest.Config{
		Host: m.Server, BearerToken: t.Bearer(),
		TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.trust.Kubernetes.Raw})},
	})
}

func encodeRequest(l pki.Leaf, key crypto.Signer) (*certificatesv1.CertificateSigningRequest, error) {
	template := &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: l.CommonName, Organization: l.Organizations}, DNSNames: l.DNSNames,
	}
	for _, ip := range l.IPs {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.Unmap().AsSlice()))
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	signer, usage := certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.UsageClientAuth
	if slices.Contains(l.Usages, x509.ExtKeyUsageServerAuth) {
		signer, usage = certificatesv1.KubeletServingSignerName, certificatesv1.UsageServerAuth
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: l.Name + "-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: signer, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage},
		},
	}, nil
}

// attempt is one way to get a certificate, tried again and again.
type attempt struct {
	*Member
	client kubernetes.Interface
	asNode bool
	began  time.Time
}

func (a attempt) run(ctx context.Context, l pki.Leaf, request *certificatesv1.CertificateSigningRequest) (*x509.Certificate, error) {
	create, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	requests := a.client.CertificatesV1().CertificateSigningRequests()
	made, err := requests.Create(create, request, metav1.CreateOptions{})
	if err != nil {
		return nil, a.judge(ctx, err)
	}
	text, err := a.await(ctx, made)
	if err != nil {
		return nil, err
	}
	certs, err := cert.ParseCertsPEM(text)
	if err != nil {
		return nil, fmt.Errorf("parse certificate %s: %w", l.Name, err)
	}
	return certs[0], nil
}

// judge tells refusals that stay from those that pass.
func (a attempt) judge(ctx context.Context, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		if !a.serverIsReady(ctx) {
			return fmt.Errorf("the server is still starting: %w", err)
		}
		return final(a.unauthorized(err))
	case apierrors.IsForbidden(err) && time.Since(a.began) > rightsTimeout:
		return final(err)
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return final(err)
	}
	return explain(err)
}

// serverIsReady tells whether a server that refuses a token has read those that there are.
func (a attempt) serverIsReady(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	anonymous := rest.CopyConfig(&rest.Config{Host: a.Server, TLSClientConfig: rest.TLSClientConfig{
		CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.trust.Kubernetes.Raw})}})
	client, err := newClient(anonymous)
	if err != nil {
		return false
	}
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
}

func (a attempt) unauthorized(err error) error {
	if a.asNode {
		return fmt.Errorf("the server does not accept this machine's certificate: %w; take the machine out of its cluster with kedge reset and join again", err)
	}
	t, broken := a.token()
	if broken != nil {
		return broken
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "Unauthorized" {
		return fmt.Errorf("the server does not accept the token %s: %s; make a new one on a server with kedge token create", t.ID, status.Status().Message)
	}
	return fmt.Errorf("the server does not accept the token %s: it does not know it, or its secret is another; "+
		"kedge token list on a server shows those that are good, kedge token create makes a new one", t.ID)
}
