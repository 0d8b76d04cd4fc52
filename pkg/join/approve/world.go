package approve

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	// defaultLease is what kubelets write into their leases.
	defaultLease = 40 * time.Second
	// startTime is how long a machine that got a name has to become a node.
	startTime = time.Minute
	// ServerLabel is on the nodes of servers.
	ServerLabel = "node-role.kubernetes.io/control-plane"
)

// watched is what was seen of the node whose name a request wants.
type watched struct {
	began time.Time // when the request was first looked at
	lease string    // the lease's content at that time
}

// gift is a name that a token was given.
type gift struct {
	key []byte
	at  time.Time
}

// look gathers what the decision about a request depends on.
func (a *approver) look(ctx context.Context, r *certificatesv1.CertificateSigningRequest, wanted request) (world, error) {
	reserved, err := a.Reserved()
	if err != nil {
		return world{}, err
	}
	w := world{reserved: reserved}
	switch {
	case wanted.serving:
		w.owner, err = a.ownerOf(ctx, wanted)
	case wanted.by == "":
		if g, ok := a.given[wanted.node]; ok && time.Since(g.at) < startTime {
			w.givenTo = g.key
		}
		w.node, err = a.nodeOf(ctx, r.Name, wanted.node)
	}
	return w, err
}

// nodeOf reads a node and its lease, and compares the lease with what it was when the request was first looked at.
func (a *approver) nodeOf(ctx context.Context, request, name string) (*nodeState, error) {
	node, err := a.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read node %s: %w", name, err)
	}
	lease, err := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		lease, err = &coordinationv1.Lease{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lease of node %s: %w", name, err)
	}
	content := leaseText(lease)
	seen, ok := a.watched[request]
	if !ok {
		seen = &watched{began: time.Now(), lease: content}
		a.watched[request] = seen
	}
	_, isServer := node.Labels[ServerLabel]
	out := &nodeState{server: isServer, silent: !reports(node), heard: content != seen.lease, watched: time.Since(seen.began), lease: defaultLease}
	if s := lease.Spec.LeaseDurationSeconds; s != nil {
		out.lease = time.Duration(*s) * time.Second
	}
	return out, nil
}

func leaseText(l *coordinationv1.Lease) string {
	if l.Spec.RenewTime == nil {
		return ""
	}
	return l.Spec.RenewTime.String()
}

// reports tells whether the cluster has not yet noticed that a node is silent.
func reports(node *corev1.Node) bool {
	return !slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown
	})
}

// ownerOf returns the other node that reports and has one of the addresses. Those of servers stay theirs while they are silent.
func (a *approver) ownerOf(ctx context.Context, wanted request) (owner, error) {
	nodes, err := a.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return owner{}, fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range nodes.Items {
		_, isServer := n.Labels[ServerLabel]
		if n.Name == wanted.node || !reports(&n) && !isServer {
			continue
		}
		for _, address := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(address.Address); err == nil && slices.Contains(wanted.ips, ip.Unmap()) {
				return owner{name: n.Name, address: ip.Unmap()}, nil
			}
		}
	}
	return owner{}, nil
}

// remember notes a name that a token was given.
func (a *approver) remember(r *certificatesv1.CertificateSigningRequest) {
	for _, c := range r.Status.Conditions {
		if c.Type != certificatesv1.CertificateApproved || time.Since(c.LastUpdateTime.Time) > startTime {
			continue
		}
		if wanted, err := parse(r); err == nil && wanted.by == "" && c.LastUpdateTime.After(a.given[wanted.node].at) {
			a.given[wanted.node] = gift{key: wanted.key, at: c.LastUpdateTime.Time}
		}
	}
}

// forget drops what is no longer needed.
func (a *approver) forget(store cache.Store) {
	for name := range a.watched {
		if o, ok, err := store.GetByKey(name); err == nil {
			if r, isRequest := o.(*certificatesv1.CertificateSigningRequest); !ok || isRequest && len(r.Status.Conditions) > 0 {
				delete(a.watched, name)
			}
		}
	}
	for name, g := range a.given {
		if time.Since(g.at) > startTime {
			delete(a.given, name)
		}
	}
}
