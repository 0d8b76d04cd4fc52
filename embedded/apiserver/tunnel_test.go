package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"

	"kedge/pkg/tunnel"
)

// TestIdentify: a tunnel is the node's that the certificate names, and nobody else opens one.
func TestIdentify(t *testing.T) {
	until := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	nodes := []string{"system:nodes", "system:authenticated"}
	for _, c := range []struct {
		name   string
		who    *user.DefaultInfo
		cert   string // common name of the connection's certificate
		node   string
		reason string
	}{
		{"node", &user.DefaultInfo{Name: "system:node:a", Groups: nodes}, "system:node:a", "a", ""},
		{"nobody", nil, "system:node:a", "", "only nodes open tunnels, with their certificate"},
		{"without certificate", &user.DefaultInfo{Name: "system:node:a", Groups: nodes}, "", "", "only nodes open tunnels, with their certificate"},
		{"impersonated", &user.DefaultInfo{Name: "system:node:a", Groups: nodes}, "kedge-admin", "", "only nodes open tunnels, and system:node:a is none"},
		{"not of the group", &user.DefaultInfo{Name: "system:node:a"}, "system:node:a", "", "only nodes open tunnels, and system:node:a is none"},
		{"administrator", &user.DefaultInfo{Name: "kedge-admin", Groups: nodes}, "kedge-admin", "", "only nodes open tunnels, and kedge-admin is none"},
		{"nameless", &user.DefaultInfo{Name: "system:node:", Groups: nodes}, "system:node:", "", "only nodes open tunnels, and system:node: is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tunnel.Path, nil)
			if c.who != nil {
				r = r.WithContext(request.WithUser(r.Context(), c.who))
			}
			if c.cert != "" {
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: c.cert}, NotAfter: until}}}
			}
			node, expiry, err := identify(r)
			reason := ""
			if err != nil {
				reason = err.Error()
			}
			if node != c.node || reason != c.reason || err == nil && !expiry.Equal(until) {
				t.Errorf("node %q until %s, %q; want %q, %q", node, expiry, reason, c.node, c.reason)
			}
		})
	}
}

// TestClaims: all nodes that name an address are known, by any kind of address.
func TestClaims(t *testing.T) {
	index := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{addressIndex: nodeAddresses})
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	add := func(name string, created time.Time, addresses ...string) {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(created)}}
		for _, a := range addresses {
			node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
		if err := index.Add(node); err != nil {
			t.Fatal(err)
		}
	}
	add("a", early, "10.0.0.1", "a", "10.0.0.1")
	add("b", late, "10.0.0.2", "10.0.0.1", "2001:db8::2")
	for address, want := range map[string][]tunnel.Claim{
		"10.0.0.1":    {{Node: "a", Since: early}, {Node: "b", Since: late}},
		"2001:db8::2": {{Node: "b", Since: late}},
		"a":           {{Node: "a", Since: early}},
		"10.0.0.9":    nil,
	} {
		got, err := claimsOf(index, address)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 2 && got[0].Node == "b" {
			got[0], got[1] = got[1], got[0]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("claims on %s (-want +got):\n%s", address, diff)
		}
	}
}
