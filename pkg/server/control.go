package server

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"kedge/embedded/apiserver"
	"kedge/embedded/controllermanager"
	"kedge/embedded/etcd"
	"kedge/embedded/scheduler"
	"kedge/pkg/addons"
	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/pki"
	"kedge/pkg/tunnel"
)

// etcdPeer is where the member listens for peers; the datastore's door is where they come from.
const etcdPeer = "127.0.0.1:2380"

// idleGates switches off two observers that ask etcd about every resource again and again: one estimates the cost of lists by
// their size instead of their number of objects, for clusters with huge objects; the other compares the watch caches with etcd
// to find faults of the API server itself. Together they are a tenth of an idle node's processor time.
const idleGates = "SizeBasedListCostEstimate=false,DetectCacheInconsistency=false"

// identityGates switches off that each API server keeps a lease of its own, and what is built on it: sending requests for APIs that only
// another server's version has to that server. It is a write every ten seconds, and a server that has lost the
// quorum could not stop before it has written.
const identityGates = "APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false"

func (s *server) etcdConfig() etcd.Config {
	tls := func(leaf string) etcd.TLS {
		return etcd.TLS{Cert: s.certificates.CertFile(leaf), Key: s.certificates.KeyFile(leaf), CA: s.certificates.CAFile(pki.Etcd)}
	}
	return etcd.Config{
		Name: s.cfg.NodeName, Dir: s.cfg.Layout.EtcdDir(), Socket: s.cfg.Layout.EtcdSocket(),
		Peer: etcdPeer, Advertise: "https://" + s.door(s.cfg.NodeIPs[0].String()),
		Client: tls(pki.EtcdServer), Members: tls(pki.EtcdPeer), Args: s.cfg.EtcdArgs, Log: s.log,
	}
}

func (s *server) datastore() lifecycle.Component {
	return lifecycle.Deferred("datastore", func() (lifecycle.Component, error) { return s.state.Component(), nil })
}

func (s *server) apiserver() lifecycle.Component {
	return lifecycle.Deferred("apiserver", func() (lifecycle.Component, error) {
		tunnels := tunnel.NewServer(tunnel.ServerConfig{Node: s.cfg.NodeName, Log: logging.For(s.log, "tunnel")})
		return apiserver.New(apiserver.Config{Flags: s.apiserverFlags(), Args: s.cfg.APIServerArgs, Tunnels: tunnels, Log: s.log}), nil
	})
}

// apiserverFlags are kedge's choices; what is not here is upstream's default.
func (s *server) apiserverFlags() []string {
	c, tls := s.cfg, s.certificates
	flags := map[string]string{
		"advertise-address":                  c.AdvertiseAddress.String(),
		"secure-port":                        fmt.Sprint(c.HTTPSListenPort),
		"service-cluster-ip-range":           commas(c.ServiceCIDRs),
		"etcd-servers":                       s.etcdConfig().Endpoint(),
		"etcd-cafile":                        tls.CAFile(pki.Etcd),
		"etcd-certfile":                      tls.CertFile(pki.APIServerEtcdClient),
		"etcd-keyfile":                       tls.KeyFile(pki.APIServerEtcdClient),
		"tls-cert-file":                      tls.CertFile(pki.APIServer),
		"tls-private-key-file":               tls.KeyFile(pki.APIServer),
		"client-ca-file":                     tls.CAFile(pki.Kubernetes),
		"kubelet-client-certificate":         tls.CertFile(pki.APIServerKubeletClient),
		"kubelet-client-key":                 tls.KeyFile(pki.APIServerKubeletClient),
		"kubelet-certificate-authority":      tls.CAFile(pki.Kubernetes),
		"kubelet-preferred-address-types":    "InternalIP,ExternalIP,Hostname",
		"proxy-client-cert-file":             tls.CertFile(pki.FrontProxyClient),
		"proxy-client-key-file":              tls.KeyFile(pki.FrontProxyClient),
		"requestheader-client-ca-file":       tls.CAFile(pki.FrontProxy),
		"requestheader-allowed-names":        "front-proxy-client",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",
		"service-account-issuer":             "https://kubernetes.default.svc." + c.ClusterDomain,
		"service-account-key-file":           tls.ServiceAccountPublicKeyFile(),
		"service-account-signing-key-file":   tls.ServiceAccountKeyFile(),
		"authorization-mode":                 "Node,RBAC",
		"enable-admission-plugins":           "NodeRestriction",
		"enable-bootstrap-token-auth":        "true",
		"allow-privileged":                   "true",
		"endpoint-reconciler-type":           "lease",
		"enable-aggregator-routing":          "true", // to endpoints: an API service must work before its service address does
		"shutdown-send-retry-after":          "true", // bounds the stop: watchers are told to go elsewhere
		"profiling":                          "false",
		"feature-gates":                      idleGates + "," + identityGates,
	}
	if b := c.BindAddress; b.IsValid() && !b.IsUnspecified() {
		flags["bind-address"] = b.String()
	}
	return toFlags(flags)
}

func (s *server) controllerManager() lifecycle.Component {
	return lifecycle.Deferred("controller-manager", func() (lifecycle.Component, error) {
		c, tls := s.cfg, s.certificates
		kubeconfig := tls.KubeconfigFile(pki.ControllerManager)
		flags := map[string]string{
			"kubeconfig":                       kubeconfig,
			"authentication-kubeconfig":        kubeconfig,
			"authorization-kubeconfig":         kubeconfig,
			"bind-address":                     "127.0.0.1",
			"tls-cert-file":                    tls.CertFile(pki.ControllerManagerServer),
			"tls-private-key-file":             tls.KeyFile(pki.ControllerManagerServer),
			"client-ca-file":                   tls.CAFile(pki.Kubernetes),
			"requestheader-client-ca-file":     tls.CAFile(pki.FrontProxy),
			"root-ca-file":                     tls.BundleFile(),
			"service-account-private-key-file": tls.ServiceAccountKeyFile(),
			"cluster-signing-cert-file":        tls.CAFile(pki.Kubernetes),
			"cluster-signing-key-file":         tls.CAKeyFile(pki.Kubernetes),
			"use-service-account-credentials":  "true",
			// The defaults (20 a second) protect a distant API server; here they are five seconds of the start.
			"kube-api-qps":             "500",
			"kube-api-burst":           "1000",
			"allocate-node-cidrs":      "true",
			"cluster-cidr":             commas(c.ClusterCIDRs),
			"service-cluster-ip-range": commas(c.ServiceCIDRs),
			"controllers":              "*,-certificatesigningrequest-approving-controller", // kedge's own approver looks at names and addresses, too
			"profiling":                "false",
			"flex-volume-plugin-dir":   filepath.Join(c.Layout.KubeletDir, "volumeplugins"),
		}
		return controllermanager.New(controllermanager.Config{Flags: toFlags(flags), Args: c.ControllerManagerArgs, Built: s.controllersBuilt, Log: s.log}), nil
	})
}

// controllersBuilt gives the node back what it shares with controllers of its process.
func (s *server) controllersBuilt() {
	if err := s.node.ReclaimCSI(); err != nil {
		s.log.Warn("CSI drivers may not be able to register on this node", "error", err)
	}
}

func (s *server) scheduler() lifecycle.Component {
	return lifecycle.Deferred("scheduler", func() (lifecycle.Component, error) {
		kubeconfig := s.certificates.KubeconfigFile(pki.Scheduler)
		flags := map[string]string{
			"kubeconfig":                   kubeconfig,
			"authentication-kubeconfig":    kubeconfig,
			"authorization-kubeconfig":     kubeconfig,
			"bind-address":                 "127.0.0.1",
			"tls-cert-file":                s.certificates.CertFile(pki.SchedulerServer),
			"tls-private-key-file":         s.certificates.KeyFile(pki.SchedulerServer),
			"client-ca-file":               s.certificates.CAFile(pki.Kubernetes),
			"requestheader-client-ca-file": s.certificates.CAFile(pki.FrontProxy),
			"profiling":                    "false",
		}
		return scheduler.New(scheduler.Config{Flags: toFlags(flags), Args: s.cfg.SchedulerArgs, Log: s.log}), nil
	})
}

func (s *server) addons() lifecycle.Component {
	return lifecycle.Deferred("add-ons", func() (lifecycle.Component, error) {
		c := s.cfg
		dns := c.ClusterDNS
		if c.Disabled("coredns") {
			dns = nil
		}
		return addons.New(addons.Config{
			Kubeconfig:        c.WriteKubeconfig,
			KubernetesService: c.FirstServiceIPs()[0],
			Values:            addons.Values{ClusterDNS: dns},
			Shared: addons.Shared{
				"cluster-cidr": commas(c.ClusterCIDRs), "service-cidr": commas(c.ServiceCIDRs), "cluster-dns": commas(c.ClusterDNS),
				"cluster-domain": c.ClusterDomain, "overlay-backend": c.OverlayBackend,
			},
			Log: s.log,
		}), nil
	})
}

func commas[T netip.Addr | netip.Prefix](values []T) string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, fmt.Sprint(v))
	}
	return strings.Join(texts, ",")
}

func toFlags(m map[string]string) []string {
	flags := make([]string, 0, len(m))
	for k, v := range m {
		flags = append(flags, "--"+config.Arg{Key: k, Value: v}.String())
	}
	return flags
}
