package server

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"

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
