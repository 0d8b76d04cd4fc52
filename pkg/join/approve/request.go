package approve

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"kedge/pkg/join/token"
)

const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
)

// request is what a kubelet asks for.
type request struct {
	by      string     // the name of the node that asks; empty when a token does
	role    token.Role // of the token
	node    string     // the name that is asked for
	serving bool
	names   []string
	ips     []netip.Addr
	key     []byte // the public key
}

// errOther marks requests that are none of a kubelet's.
var errOther = errors.New("not a kubelet's request")

// parse reads a request. The error is errOther, or says what is wrong with it.
func parse(r *certificatesv1.CertificateSigningRequest) (request, error) {
	out := request{serving: r.Spec.SignerName == certificatesv1.KubeletServingSignerName}
	if !out.serving && r.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return out, errOther
	}
	var isToken bool
	out.role, isToken = token.RoleOf(r.Spec.Groups)
	name, isNode := strings.CutPrefix(r.Spec.Username, nodeUser)
	isNode = isNode && slices.Contains(r.Spec.Groups, nodeGroup)
	switch {
	case isNode:
		out.by = name
	case !isToken:
		return out, errOther
	}
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil {
		return out, errors.New("the request is not PEM")
	}
	x, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return out, fmt.Errorf("parse request: %w", err)
	}
	return out, out.fill(x, r.Spec.Usages)
}

// fill takes what is asked for and wants the form that kubelets' certificates have.
func (r *request) fill(x *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	var ok bool
	if r.node, ok = strings.CutPrefix(x.Subject.CommonName, nodeUser); !ok || !slices.Equal(x.Subject.Organization, []string{nodeGroup}) {
		return fmt.Errorf("the subject is %q; want a common name %sNAME and the organization %s", x.Subject, nodeUser, nodeGroup)
	}
	if len(validation.IsDNS1123Subdomain(r.node)) > 0 || len(r.node) > validation.LabelValueMaxLength {
		return fmt.Errorf("%q is not the name of a node", r.node)
	}
	want := certificatesv1.UsageClientAuth
	if r.serving {
		want = certificatesv1.UsageServerAuth
	}
	for _, u := range usages {
		if u != want && u != certificatesv1.UsageDigitalSignature && u != certificatesv1.UsageKeyEncipherment {
			return fmt.Errorf("the usage %q is not for this signer", u)
		}
	}
	if !slices.Contains(usages, want) {
		return fmt.Errorf("the usage %q is missing", want)
	}
	r.names, r.key = x.DNSNames, x.RawSubjectPublicKeyInfo
	for _, ip := range x.IPAddresses {
		a, ok := netip.AddrFromSlice(ip)
		if !ok {
			return errors.New("an address has a wrong length")
		}
		r.ips = append(r.ips, a.Unmap())
	}
	if len(x.EmailAddresses) > 0 || len(x.URIs) > 0 || !r.serving && len(r.names)+len(r.ips) > 0 {
		return errors.New("the alternative names are not for this signer")
	}
	return nil
}

func (r *request) sameKey(other []byte) bool { return bytes.Equal(r.key, other) }
