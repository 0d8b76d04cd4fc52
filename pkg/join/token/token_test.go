package token

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

const (
	fingerprint = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	good        = fingerprint + "::abc123.0123456789abcdef"
)

func TestParse(t *testing.T) {
	want := Token{Fingerprint: fingerprint, ID: "abc123", Secret: "0123456789abcdef"}
	for name, c := range map[string]struct{ text, err string }{
		"good":                 {good, ""},
		"space around it":      {" " + good + "\n", ""},
		"empty":                {"", `not a token: it has no "::"; want <fingerprint>::<id>.<secret>, as kedge token create prints it`},
		"bootstrap token only": {"abc123.0123456789abcdef", `not a token: it has no "::"; want <fingerprint>::<id>.<secret>, as kedge token create prints it`},
		"short fingerprint":    {fingerprint[1:] + "::abc123.0123456789abcdef", `not a token: it begins with "12345678…" and not with the 64 hexadecimal digits of a root certificate's SHA-256`},
		"upper case":           {strings.ToUpper(fingerprint) + "::abc123.0123456789abcdef", `not a token: it begins with "01234567…" and not with the 64 hexadecimal digits of a root certificate's SHA-256`},
		"cut off":              {good[:len(good)-1], `not a token: what follows "::" is not <id>.<secret> with 6 and 16 letters a-z or digits; was the token cut off?`},
		"no id":                {fingerprint + "::.0123456789abcdef", `not a token: what follows "::" is not <id>.<secret> with 6 and 16 letters a-z or digits; was the token cut off?`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.text)
			if c.err == "" {
				if err != nil || got != want || got.String() != good {
					t.Errorf("got %q, error %v", got.String(), err)
				}
				return
			}
			if err == nil || err.Error() != c.err || !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v\nwant  %s", err, c.err)
			}
		})
	}
}

func TestNew(t *testing.T) {
	first, err := New(fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse(first.String()); err != nil || again != first {
		t.Errorf("%v does not survive a round trip: %v", first, err)
	}
	if second, err := New(fingerprint); err != nil || second.ID == first.ID || second.Secret == first.Secret {
		t.Errorf("two tokens are alike: %v", err)
	}
	if _, err := New("x"); err == nil {
		t.Error("no error for a wrong fingerprint")
	}
}

func TestSecretIsNotLogged(t *testing.T) {
	parsed, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("joining", "token", parsed)
	if !strings.Contains(log.String(), "token=abc123\n") {
		t.Errorf("log %q", log.String())
	}
}

func TestRoleOf(t *testing.T) {
	for name, c := range map[string]struct {
		groups []string
		want   Role
	}{
		"agent":  {[]string{"system:bootstrappers", "system:bootstrappers:kedge:agent"}, Agent},
		"server": {[]string{"system:bootstrappers:kedge:server"}, Server},
		"both":   {[]string{"system:bootstrappers:kedge:agent", "system:bootstrappers:kedge:server"}, Server},
		"none":   {[]string{"system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"}, ""},
	} {
		if got, ok := RoleOf(c.groups); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", name, got, ok, c.want)
		}
	}
}

func TestSecret(t *testing.T) {
	parsed, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	got := secret(parsed, Options{Role: Server, TTL: time.Hour, Description: "for the shop"}, now)
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abc123", Namespace: "kube-system"},
		Type:       "bootstrap.kubernetes.io/token",
		StringData: map[string]string{
			"token-id": "abc123", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
			"auth-extra-groups": "system:bootstrappers:kedge:server", "expiration": "2027-03-01T13:00:00Z", "description": "for the shop",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
}

func stored(id, groups, expiration string, created time.Time) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id, Namespace: "kube-system", CreationTimestamp: metav1.NewTime(created)},
		Type:       "bootstrap.kubernetes.io/token",
		Data:       map[string][]byte{"token-id": []byte(id), "auth-extra-groups": []byte(groups)},
	}
	if expiration != "" {
		s.Data["expiration"] = []byte(expiration)
	}
	return s
}

func TestCluster(t *testing.T) {
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	old := time.Now().Add(-keepExpired - time.Hour).UTC()
	client := fake.NewClientset(
		stored("second", "system:bootstrappers:kedge:agent", "2027-03-02T12:00:00Z", at.Add(time.Hour)),
		stored("first0", "system:bootstrappers:kedge:server", "", at),
		stored("others", "system:bootstrappers:kubeadm:default-node-token", "", at),
		stored("broken", "system:bootstrappers:kedge:agent", "tomorrow", at.Add(2*time.Hour)),
	)
	list := func() []Info {
		all, err := List(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := []Info{
		{ID: "first0", Role: Server, Created: at},
		{ID: "second", Role: Agent, Created: at.Add(time.Hour), Expires: at.Add(24 * time.Hour)},
		{ID: "broken", Role: Agent, Created: at.Add(2 * time.Hour), Expires: at.Add(2 * time.Hour)},
	}
	if diff := cmp.Diff(want, list()); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	if err := Delete(t.Context(), client, fingerprint+"::second.0123456789abcdef"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"nosuch": `delete token: the cluster knows no token nosuch: secrets "bootstrap-token-nosuch" not found`,
		"what?":  `delete token: "what?" is neither a token nor the id of one; kedge token list shows the ids`,
	} {
		if err := Delete(t.Context(), client, name); err == nil || err.Error() != want {
			t.Errorf("delete %s: %v\nwant %s", name, err, want)
		}
	}
	if _, err := client.CoreV1().Secrets("kube-system").Create(t.Context(),
		stored("ancien", "system:bootstrappers:kedge:agent", old.Format(time.RFC3339), old), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	fresh, err := New(fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := Create(t.Context(), client, fresh, Options{Role: Agent}); err != nil {
		t.Error(err)
	}
	for _, i := range list() {
		if i.ID == "ancien" || i.ID == "second" {
			t.Errorf("%s is still there", i.ID)
		}
	}
}
