package apiserver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

func TestRefuseExpired(t *testing.T) {
	index := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for id, expiration := range map[string]string{"oldold": "2020-03-01T12:00:00Z", "newnew": "2999-03-01T12:00:00Z", "always": ""} {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id, Namespace: "kube-system"}, Type: "bootstrap.kubernetes.io/token",
			Data: map[string][]byte{"token-id": []byte(id), "token-secret": []byte("0123456789abcdef")},
		}
		if expiration != "" {
			s.Data["expiration"] = []byte(expiration)
		}
		if err := index.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	passed := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	handler := refuseExpired(passed, listers.NewSecretLister(index).Secrets("kube-system"), legacyscheme.Codecs)
	for name, c := range map[string]struct {
		authorization string
		code          int
		says          string
	}{
		"expired":              {"Bearer oldold.0123456789abcdef", http.StatusUnauthorized, `"message":"it expired 2020-03-01T12:00:00Z"`},
		"expired, not its own": {"Bearer oldold.0123456789abcdex", http.StatusTeapot, ""},
		"good":                 {"Bearer newnew.0123456789abcdef", http.StatusTeapot, ""},
		"without end":          {"Bearer always.0123456789abcdef", http.StatusTeapot, ""},
		"unknown":              {"Bearer nosuch.0123456789abcdef", http.StatusTeapot, ""},
		"another kind":         {"Bearer eyJhbGciOi", http.StatusTeapot, ""},
		"none":                 {"", http.StatusTeapot, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/nodes", nil)
			req.Header.Set("Authorization", c.authorization)
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, req)
			if rec.Code != c.code || !strings.Contains(rec.Body.String(), c.says) {
				t.Errorf("status %d, body %s; want %d, %s", rec.Code, rec.Body, c.code, c.says)
			}
		})
	}
}
