package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/join/token"
	"kedge/pkg/pki"
)

// SharedConfig is the ConfigMap of kube-system with the values that the machines of a cluster share.
const SharedConfig = "kedge-config"

// Options of a machine that joins. All fields but APIServer are required.
type Options struct {
	Server    string                 // the URL of the server to join, https://host:port
	APIServer string                 // the URL for all requests but the first; Server when empty
	Token     func() (string, error) // the token's text, empty when there is none; called only when one is needed
	NodeName  string
	Dir       string // of the node's certificates
	Log       *slog.Logger
}

// Member is a machine with an identity in the cluster.
type Member struct {
	Options
	trust pki.Trust
}

// Identify returns the machine's identity, joining the cluster when it has none.
func Identify(ctx context.Context, o Options) (*Member, error) {
	if o.APIServer == "" {
		o.APIServer = o.Server
	}
	m := &Member{Options: o}
	if err := m.learnTrust(ctx); err != nil {
		return nil, err
	}
	if _, err := m.ensure(ctx, m.leaves(nil)[:1]); err != nil {
		return nil, fmt.Errorf("join cluster: %w", err)
	}
	return m, nil
}

// Serving makes the kubelet's serving certificate for the node's addresses and returns all certificates of the node.
func (m *Member) Serving(ctx context.Context, ips []netip.Addr) (*pki.Store, error) {
	store, err := m.ensure(ctx, m.leaves(ips))
	if err != nil {
		return nil, fmt.Errorf("get serving certificate: %w", err)
	}
	return store, nil
}

func (m *Member) leaves(ips []netip.Addr) []pki.Leaf {
	return pki.NodeLeaves(pki.Params{NodeName: m.NodeName, NodeIPs: ips, APIServer: m.APIServer})
}

func (m *Member) ensure(ctx context.Context, leaves []pki.Leaf) (*pki.Store, error) {
	return pki.EnsureNode(ctx, pki.NodeOptions{Dir: m.Dir, Leaves: leaves, Trust: m.trust, Issue: m.issue, Log: m.Log})
}

// learnTrust reads whom the machine trusts, or meets the server and compares it with the token.
func (m *Member) learnTrust(ctx context.Context) error {
	known, err := pki.LoadTrust(m.Dir)
	if err == nil {
		m.trust = known
		return m.compareToken()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("load cluster's authorities: %w", err)
	}
	t, err := m.token()
	if err != nil {
		return err
	}
	return retry(ctx, m.Log, "join cluster", func(ctx context.Context) (err error) {
		m.trust, err = meet(ctx, m.Server, t.Fingerprint)
		return err
	})
}

// compareToken refuses a token of another cluster than the one this machine belongs to.
func (m *Member) compareToken() error {
	text, err := m.Token()
	if err != nil || text == "" {
		return nil //nolint:nilerr // a token's file may be gone: it is not needed
	}
	t, err := token.Parse(text)
	if err != nil || t.Fingerprint == m.trust.Fingerprint() {
		return nil //nolint:nilerr // as above
	}
	return fmt.Errorf("join cluster: this machine belongs to the cluster with the root %s, and the token is for the root %s: "+
		"leave the token out, or take the machine out of its cluster with kedge reset", m.trust.Fingerprint(), t.Fingerprint)
}

func (m *Member) token() (token.Token, error) {
	text, err := m.Token()
	if err != nil {
		return token.Token{}, err
	}
	if text == "" {
		return token.Token{}, errors.New("join cluster: this machine has no certificate of a cluster and needs a token: " +
			"make one on a server with kedge token create and give it as --token, --token-file or KEDGE_TOKEN")
	}
	t, err := token.Parse(text)
	if err != nil {
		return token.Token{}, fmt.Errorf("read token: %w", err)
	}
	return t, nil
}

// client has the rights of the node.
func (m *Member) client() (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", m.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("load node's credentials: %w", err)
	}
	return newClient(cfg)
}

func newClient(cfg *rest.Config) (kubernetes.Interface, error) {
	cfg.Timeout = 0 // requests are bounded by their context, watches are not
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	return client, nil
}

// Shared reads the values that the machines of the cluster share, by the name of their option.
func (m *Member) Shared(ctx context.Context) (map[string]string, error) {
	client, err := m.client()
	if err != nil {
		return nil, err
	}
	var found *corev1.ConfigMap
	err = retry(ctx, m.Log, "read cluster's configuration", func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		found, err = client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, SharedConfig, metav1.GetOptions{})
		if apierrors.IsUnauthorized(err) {
			return final(fmt.Errorf("the API server does not accept this machine's certificate: %w; take the machine out of its cluster with kedge reset and join again", err))
		}
		return explain(err)
	})
	if err != nil {
		return nil, err
	}
	return found.Data, nil
}
