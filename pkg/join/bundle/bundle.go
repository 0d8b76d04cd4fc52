package bundle

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/cluster-bootstrap/token/api"

	"kedge/pkg/join/token"
)

// Name of the Secret in kube-system.
const Name = "kedge-bundle"

const (
	payloadKey = "payload"
	keyPrefix  = "key-" // followed by the id of a token
)

// Files are the content: file name to text.
type Files map[string][]byte

// Publish makes the Secret what it should be: files, readable with each server token that is good now. Without such a token it is
// removed. It is called when a server token was made or deleted, and when a server starts.
func Publish(ctx context.Context, client kubernetes.Interface, files Files) error {
	secrets := client.CoreV1().Secrets(metav1.NamespaceSystem)
	return retry.OnError(retry.DefaultBackoff, contended, func() error {
		tokens, err := serverTokens(ctx, client, time.Now())
		if err != nil {
			return err
		}
		existing, err := secrets.Get(ctx, Name, metav1.GetOptions{})
		switch {
		case err != nil && !apierrors.IsNotFound(err):
			return fmt.Errorf("read %s: %w", Name, err)
		case err != nil && len(tokens) == 0:
			return nil
		case len(tokens) == 0:
			return remove(ctx, client, existing)
		}
		data, sealErr := sealAll(files, tokens)
		if sealErr != nil {
			return sealErr
		}
		if err != nil {
			fresh := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: Name, Namespace: metav1.NamespaceSystem}, Data: data}
			_, err = secrets.Create(ctx, fresh, metav1.CreateOptions{})
		} else {
			existing.Data = data
			_, err = secrets.Update(ctx, existing, metav1.UpdateOptions{})
		}
		if err != nil {
			return fmt.Errorf("store %s: %w", Name, err)
		}
		return nil
	})
}

// contended tells that another writer came first.
func contended(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

func remove(ctx context.Context, client kubernetes.Interface, s *corev1.Secret) error {
	only := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &s.ResourceVersion}}
	err := client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, Name, only)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove %s: %w", Name, err)
	}
	return nil
}

// serverTokens returns the secrets of the server tokens that are good, by id.
func serverTokens(ctx context.Context, client kubernetes.Interface, now time.Time) (map[string]string, error) {
	all, err := client.CoreV1().Secrets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{
		FieldSelector: "type=" + string(api.SecretTypeBootstrapToken),
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	good := map[string]string{}
	for _, s := range all.Items {
		if i, ok := token.Describe(&s); ok && i.Role == token.Server && !i.Expired(now) {
			good[i.ID] = string(s.Data[api.BootstrapTokenSecretKey])
		}
	}
	return good, nil
}

// sealAll returns the data of the Secret.
func sealAll(files Files, tokens map[string]string) (map[string][]byte, error) {
	text, err := json.Marshal(files)
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	dataKey := newDataKey()
	payload, err := seal(dataKey, text, purposePayload)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{payloadKey: payload}
	for id, secret := range tokens {
		key, err := tokenKey(id, secret)
		if err != nil {
			return nil, err
		}
		if data[keyPrefix+id], err = seal(key, dataKey, purposeKey+id); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// Open decrypts the Secret with a server token.
func Open(s *corev1.Secret, t token.Token) (Files, error) {
	wrapped, ok := s.Data[keyPrefix+t.ID]
	if !ok {
		return nil, fmt.Errorf("open %s: it holds no key for token %s, only for %s; make a server token with "+
			"kedge token create --role server", Name, t.ID, strings.Join(ids(s), ", "))
	}
	key, err := tokenKey(t.ID, t.Secret)
	if err != nil {
		return nil, err
	}
	dataKey, err := open(key, wrapped, purposeKey+t.ID)
	if err != nil {
		return nil, fmt.Errorf("open the key for token %s in %s: %w", t.ID, Name, err)
	}
	text, err := open(dataKey, s.Data[payloadKey], purposePayload)
	if err != nil {
		return nil, fmt.Errorf("open the payload of %s: %w", Name, err)
	}
	var files Files
	if err := json.Unmarshal(text, &files); err != nil {
		return nil, fmt.Errorf("decode %s: %w", Name, err)
	}
	return files, nil
}

// ids lists the tokens that a Secret can be opened with.
func ids(s *corev1.Secret) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		if id, ok := strings.CutPrefix(key, keyPrefix); ok {
			out = append(out, id)
		}
	}
	return out
}
