package join

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"kedge/pkg/join/bundle"
	"kedge/pkg/join/token"
)

// Admission is what a server needs to become one of a cluster.
type Admission struct {
	Fingerprint string            // of the cluster's root
	Authorities bundle.Files      // see pki.Adopt
	Shared      map[string]string // the values that all machines share, by the name of their option
	Servers     []string          // addresses of the cluster's servers

	asker attempt // with the token
}

// Claim asks the cluster for the node's name, under the rules by which agents get theirs: an error says that a live machine has it. A machine
// of this name that is gone may take as long as a lease (40 s) to be known as gone. The certificate that the request is good for is not kept:
// a server issues its own.
func (a *Admission) Claim(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	leaf := a.asker.leaves(nil)[0]
	request, err := encodeRequest(leaf, key)
	if err != nil {
		return err
	}
	a.asker.began = time.Now()
	return retry(ctx, a.asker.Log, "get the name "+a.asker.NodeName, func(ctx context.Context) error {
		_, err := a.asker.run(ctx, leaf, request)
		return err
	})
}

// AsServer shows a server token to a server of the cluster and returns what it is good for. Nothing is written: Options.Dir is not needed.
func AsServer(ctx context.Context, o Options) (*Admission, error) {
	o.APIServer = o.Server
	m := &Member{Options: o}
	t, err := m.token()
	if err != nil {
		return nil, err
	}
	err = retry(ctx, o.Log, "join cluster", func(ctx context.Context) (err error) {
		m.trust, err = meet(ctx, o.Server, t.Fingerprint)
		return err
	})
	if err != nil {
		return nil, err
	}
	client, err := m.tokenClient(t)
	if err != nil {
		return nil, err
	}
	var a *Admission
	err = retry(ctx, o.Log, "join cluster", func(ctx context.Context) (err error) {
		a, err = admission(ctx, client, o.Server, t)
		return explain(err)
	})
	if err != nil {
		return nil, err
	}
	a.asker = attempt{Member: m, client: client}
	return a, nil
}

func admission(ctx context.Context, client kubernetes.Interface, server string, t token.Token) (*Admission, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	shared, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, SharedConfig, metav1.GetOptions{})
	if err != nil {
		return nil, refused(t, "read the cluster's configuration", err)
	}
	secret, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, bundle.Name, metav1.GetOptions{})
	if err != nil {
		return nil, refused(t, "read the cluster's authorities", err)
	}
	files, err := bundle.Open(secret, t)
	if err != nil {
		return nil, final(err)
	}
	servers, err := serversOf(ctx, client, server)
	if err != nil {
		return nil, err
	}
	return &Admission{Fingerprint: t.Fingerprint, Authorities: files, Shared: shared.Data, Servers: servers}, nil
}

// refused explains what a token is not good for.
func refused(t token.Token, doing string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return final(fmt.Errorf("%s: the cluster does not know token %s, or it has expired: make another with kedge token create --role server", doing, t.ID))
	case apierrors.IsForbidden(err):
		return final(fmt.Errorf("%s: token %s is for agents: make one with kedge token create --role server", doing, t.ID))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// serversOf lists the addresses of the cluster's servers, the one that was asked first.
func serversOf(ctx context.Context, client kubernetes.Interface, server string) ([]string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, final(fmt.Errorf("parse --server: %w", err))
	}
	all := []string{u.Hostname()}
	found, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("list servers: %w", err)
	}
	for _, e := range found.Endpoints {
		all = append(all, e.Addresses...)
	}
	rest := slices.DeleteFunc(all[1:], func(a string) bool { return a == u.Hostname() || net.ParseIP(a) == nil })
	slices.Sort(rest)
	return append(all[:1], slices.Compact(rest)...), nil
}
