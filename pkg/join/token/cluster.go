package token

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/util"
)

// DefaultTTL is how long a token is good for unless somebody says otherwise.
const DefaultTTL = 24 * time.Hour

// keepExpired is how long an expired token is remembered, so that who uses it is told that it has expired.
const keepExpired = 7 * 24 * time.Hour

// Options of a token in the cluster.
type Options struct {
	Role        Role          // required
	TTL         time.Duration // 0: it never expires
	Description string        // optional
}

// Info describes a token of the cluster, without its secret.
type Info struct {
	ID          string    `json:"id"`
	Role        Role      `json:"role"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires,omitzero"` // zero: never
}

// Expired tells whether the token is no longer good.
func (i Info) Expired(now time.Time) bool { return !i.Expires.IsZero() && !now.Before(i.Expires) }

// Create makes a token known to the cluster, and removes those that have been expired for a week.
func Create(ctx context.Context, client kubernetes.Interface, t Token, o Options) error {
	if _, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, secret(t, o, time.Now()), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("store token %s: %w", t.ID, err)
	}
	all, err := List(ctx, client)
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Expired(time.Now().Add(-keepExpired)) {
			if err := Delete(ctx, client, i.ID); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}

func secret(t Token, o Options, now time.Time) *corev1.Secret {
	data := map[string]string{
		api.BootstrapTokenIDKey:               t.ID,
		api.BootstrapTokenSecretKey:           t.Secret,
		api.BootstrapTokenUsageAuthentication: "true",
		api.BootstrapTokenExtraGroupsKey:      o.Role.Group(),
	}
	if o.TTL != 0 {
		data[api.BootstrapTokenExpirationKey] = now.Add(o.TTL).UTC().Format(time.RFC3339)
	}
	if o.Description != "" {
		data[api.BootstrapTokenDescriptionKey] = o.Description
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: util.BootstrapTokenSecretName(t.ID), Namespace: metav1.NamespaceSystem},
		Type:       api.SecretTypeBootstrapToken,
		StringData: data,
	}
}

// List returns the tokens of kedge's roles, the oldest first. Bootstrap tokens of others are left out.
func List(ctx context.Context, client kubernetes.Interface) ([]Info, error) {
	secrets, err := client.CoreV1().Secrets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{
		FieldSelector: "type=" + string(api.SecretTypeBootstrapToken),
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	all := []Info{}
	for _, s := range secrets.Items {
		if i, ok := Describe(&s); ok {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// Describe reads the Secret of a token; it returns false for what is none of kedge's.
func Describe(s *corev1.Secret) (Info, bool) {
	role, ok := RoleOf(strings.Split(string(s.Data[api.BootstrapTokenExtraGroupsKey]), ","))
	if !ok || s.Type != api.SecretTypeBootstrapToken {
		return Info{}, false
	}
	i := Info{
		ID: string(s.Data[api.BootstrapTokenIDKey]), Role: role,
		Description: string(s.Data[api.BootstrapTokenDescriptionKey]), Created: s.CreationTimestamp.UTC(),
	}
	if text, ok := s.Data[api.BootstrapTokenExpirationKey]; ok {
		expires, err := time.Parse(time.RFC3339, string(text))
		if err != nil { // the API server takes such a token for expired
			expires = i.Created
		}
		i.Expires = expires.UTC()
	}
	return i, true
}

// Delete makes a token useless. name is its id, or the token itself.
func Delete(ctx context.Context, client kubernetes.Interface, name string) error {
	id := name
	if t, err := Parse(name); err == nil {
		id = t.ID
	}
	if !util.IsValidBootstrapTokenID(id) {
		return fmt.Errorf("delete token: %q is neither a token nor the id of one; kedge token list shows the ids", shorten(name))
	}
	if err := client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, util.BootstrapTokenSecretName(id), metav1.DeleteOptions{}); err != nil {
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("delete token: the cluster knows no token %s: %w", id, err)
		}
		return fmt.Errorf("delete token %s: %w", id, err)
	}
	return nil
}
