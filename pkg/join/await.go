package join

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// slowDecision is how long a decision takes at most when there is nothing to wait for.
const slowDecision = 4 * time.Second

// await follows a request until it is decided. An error that heals makes the caller ask anew.
func (a attempt) await(ctx context.Context, made *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	requests := a.client.CertificatesV1().CertificateSigningRequests()
	events, err := requests.Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + made.Name, ResourceVersion: made.ResourceVersion,
	})
	if err != nil {
		return nil, explain(fmt.Errorf("watch request %s: %w", made.Name, err))
	}
	defer events.Stop()
	slow := time.NewTimer(slowDecision)
	defer slow.Stop()
	for {
		select {
		case <-slow.C:
			a.Log.Info("waiting for the cluster's decision: if a node had this name, it takes until the cluster has noticed that it is gone",
				"node", a.NodeName, "atMost", "about a minute")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case e, ok := <-events.ResultChan():
			switch {
			case !ok:
				return nil, fmt.Errorf("watch request %s: the server closed the connection", made.Name)
			case e.Type == watch.Error:
				return nil, fmt.Errorf("watch request %s: %w", made.Name, apierrors.FromObject(e.Object))
			case e.Type == watch.Deleted:
				return nil, fmt.Errorf("request %s was deleted before it was decided", made.Name)
			}
			if r, ok := e.Object.(*certificatesv1.CertificateSigningRequest); ok {
				if text, err := decision(r); text != nil || err != nil {
					return text, err
				}
			}
		}
	}
}

// decision returns the certificate, an error when it was refused, or neither.
func decision(r *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	for _, c := range r.Status.Conditions {
		switch c.Type {
		case certificatesv1.CertificateDenied:
			return nil, final(fmt.Errorf("the cluster refuses: %s", c.Message))
		case certificatesv1.CertificateFailed:
			return nil, fmt.Errorf("the cluster could not sign: %s", c.Message)
		}
	}
	if len(r.Status.Certificate) == 0 {
		return nil, nil
	}
	return r.Status.Certificate, nil
}

// explain says what to do about a server whose certificate is none of this machine's cluster.
func explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return final(fmt.Errorf("the server is of another cluster than this machine: %w; check --server, or take the machine out of its cluster with kedge reset", err))
	case errors.As(err, &name):
		return final(fmt.Errorf("%w; use one of these names in --server, or start the server with another --tls-san", err))
	}
	return err
}
