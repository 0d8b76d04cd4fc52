package bundle

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"kedge/pkg/join/token"
)

func newToken(t *testing.T, client kubernetes.Interface, role token.Role, ttl time.Duration) token.Token {
	t.Helper()
	made, err := token.New(strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Create(t.Context(), client, made, token.Options{Role: role, TTL: ttl}); err != nil {
		t.Fatal(err)
	}
	// The fake stores what a real API server would turn into data.
	name := "bootstrap-token-" + made.ID
	s, err := client.CoreV1().Secrets("kube-system").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Data = map[string][]byte{}
	for k, v := range s.StringData {
		s.Data[k] = []byte(v)
	}
	if _, err := client.CoreV1().Secrets("kube-system").Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return made
}

func stored(t *testing.T, client kubernetes.Interface) *corev1.Secret {
	t.Helper()
	s, err := client.CoreV1().Secrets("kube-system").Get(t.Context(), Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPublish(t *testing.T) {
	client := fake.NewSimpleClientset()
	files := Files{"etcd-ca.key": []byte("a private key"), "root.crt": []byte("a certificate")}
	agent := newToken(t, client, token.Agent, time.Hour)
	publish := func() *corev1.Secret {
		t.Helper()
		if err := Publish(t.Context(), client, files); err != nil {
			t.Fatal(err)
		}
		return stored(t, client)
	}
	if s := publish(); s != nil {
		t.Errorf("published without a server token: %v", ids(s))
	}
	first, expired := newToken(t, client, token.Server, 0), newToken(t, client, token.Server, -time.Hour)
	before := publish()
	second := newToken(t, client, token.Server, time.Hour)
	s := publish()
	for _, text := range s.Data {
		if bytes.Contains(text, []byte("private")) || bytes.Contains(text, []byte("etcd-ca.key")) {
			t.Error("the content can be read")
		}
	}
	if bytes.Equal(s.Data[payloadKey], before.Data[payloadKey]) {
		t.Error("the payload was encrypted with the former key")
	}
	for _, good := range []token.Token{first, second} {
		got, err := Open(s, good)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(files, got); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
	}
	for what, bad := range map[string]token.Token{"agent's": agent, "expired": expired} {
		if _, err := Open(s, bad); err == nil || !strings.Contains(err.Error(), "holds no key for token "+bad.ID) {
			t.Errorf("opened with the %s token: %v", what, err)
		}
	}
	for _, id := range []string{first.ID, second.ID} {
		if err := token.Delete(t.Context(), client, id); err != nil {
			t.Fatal(err)
		}
	}
	if s := publish(); s != nil {
		t.Errorf("still there without a token: %v", ids(s))
	}
}

func TestOpenRefuses(t *testing.T) {
	right := token.Token{ID: "abcdef", Secret: "0123456789abcdef"}
	data, err := sealAll(Files{"a": []byte("b")}, map[string]string{right.ID: right.Secret, "fedcba": "0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	wrong := right
	wrong.Secret = "0123456789abcdeg"
	const sealed = ": it was encrypted with another key, or was changed since"
	for name, c := range map[string]struct {
		token  token.Token
		change func(map[string][]byte)
		want   string
	}{
		"wrong secret":    {wrong, func(map[string][]byte) {}, "open the key for token abcdef in kedge-bundle" + sealed},
		"another's key":   {right, func(d map[string][]byte) { d["key-abcdef"] = d["key-fedcba"] }, "open the key for token abcdef in kedge-bundle" + sealed},
		"changed payload": {right, func(d map[string][]byte) { d["payload"] = append([]byte{1}, d["payload"]...) }, "open the payload of kedge-bundle" + sealed},
		"no payload":      {right, func(d map[string][]byte) { delete(d, "payload") }, "open the payload of kedge-bundle" + sealed},
	} {
		changed := map[string][]byte{}
		for k, v := range data {
			changed[k] = bytes.Clone(v)
		}
		c.change(changed)
		if _, err := Open(&corev1.Secret{Data: changed}, c.token); err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
}
