package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/join/approve"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/pki"
)

// approver decides about the certificates of machines that join.
func (s *server) approver() lifecycle.Component {
	return lifecycle.Deferred("approver", func() (lifecycle.Component, error) {
		return approve.New(approve.Config{
			Kubeconfig: s.certificates.KubeconfigFile(pki.Supervisor), Reserved: s.reserved, Log: logging.For(s.log, "approver"),
		}), nil
	})
}

// markNode marks this machine's Node as a server's: kubectl shows it, and the approver gives its name to no agent. A node may
// not do that itself.
func (s *server) markNode(ctx context.Context) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", s.cfg.WriteKubeconfig)
	if err != nil {
		return fmt.Errorf("load administrator's credentials: %w", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"true"}}}`, approve.ServerLabel)
	return backoff().DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Nodes().Patch(ctx, s.cfg.NodeName, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			s.log.Debug("node cannot be marked as a server's yet", "error", err)
		}
		return err == nil, nil
	})
}

// backoff between attempts to mark the node.
func backoff() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 20, Cap: 10 * time.Second}
}

// reserved is what no other machine may have a certificate for: the names and addresses of this server, services and pods.
func (s *server) reserved() (approve.Reserved, error) {
	pair, err := tls.LoadX509KeyPair(s.certificates.CertFile(pki.APIServer), s.certificates.KeyFile(pki.APIServer))
	if err != nil {
		return approve.Reserved{}, fmt.Errorf("read API server's certificate: %w", err)
	}
	out := approve.Reserved{Names: pair.Leaf.DNSNames, Networks: slices.Concat(s.cfg.ServiceCIDRs, s.cfg.ClusterCIDRs)}
	for _, ip := range pair.Leaf.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			out.Addresses = append(out.Addresses, a.Unmap())
		}
	}
	return out, nil
}
