package pki

import (
	"crypto/x509"
	"net/netip"
	"os"
)

// AuthorityName names a certificate authority.
type AuthorityName string

// The authorities. Root issues the other three and no leaf.
const (
	Root       AuthorityName = "root"
	Kubernetes AuthorityName = "kubernetes"
	Etcd       AuthorityName = "etcd"
	FrontProxy AuthorityName = "front-proxy"
)

// The names of the leaves in the table, which are the names of their files without extension.
const (
	APIServer               = "apiserver"
	APIServerKubeletClient  = "apiserver-kubelet-client"
	APIServerEtcdClient     = "apiserver-etcd-client"
	EtcdServer              = "etcd-server"
	EtcdPeer                = "etcd-peer"
	FrontProxyClient        = "front-proxy-client"
	ControllerManager       = "controller-manager"
	ControllerManagerServer = "controller-manager-server"
	Scheduler               = "scheduler"
	SchedulerServer         = "scheduler-server"
	Supervisor              = "supervisor"
	Admin                   = "admin"
	KubeletClient           = "kubelet-client"
	KubeletServer           = "kubelet-server"
)

// etcdSocketName is the server name under which etcd's client checks a server behind a Unix socket: the socket's base name.
const etcdSocketName = "etcd.sock"

// Leaf is one row of the table: a certificate that is wanted, and the files that go with it.
type Leaf struct {
	Name          string        // required: the base name of its .crt and .key
	Authority     AuthorityName // required: who issues it
	CommonName    string        // required
	Organizations []string
	Usages        []x509.ExtKeyUsage // required
	DNSNames      []string
	IPs           []netip.Addr

	Node       bool        // kept with the node's credentials, not with the server's
	Kubeconfig string      // if set, the name of a kubeconfig beside the certificate that refers to the files by path
	Export     string      // if set, the absolute path of a kubeconfig that carries certificate, key and ca-bundle.crt in itself
	ExportMode os.FileMode // of Export; 0 means 0600
	Server     string      // the API server's URL in Kubeconfig and Export
}

// Params are the facts of a server that its leaves depend on.
type Params struct {
	NodeName      string       // required
	NodeIPs       []netip.Addr // required: the node's addresses, the advertise address among them
	ServiceIPs    []netip.Addr // required: the first address of each service CIDR
	ClusterDomain string       // required
	TLSSANs       []string     // optional: further names and addresses of the API server
	APIServer     string       // required: the URL for kubeconfigs of components, such as https://127.0.0.1:6443

	AdminServer         string      // optional: the URL for AdminKubeconfig; APIServer when empty
	AdminKubeconfig     string      // optional: the absolute path of the user's kubeconfig
	AdminKubeconfigMode os.FileMode // optional: 0600 when 0
}

// ServerLeaves returns the leaves of a server and of the node in its process.
func ServerLeaves(p Params) []Leaf {
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} // etcd dials itself with its own certificate

	localhost, loopback := []string{"localhost"}, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	apiNames, apiIPs := apiServerNames(p, localhost, loopback)
	etcdNames, etcdIPs := distinct(localhost, []string{p.NodeName}), distinct(loopback, p.NodeIPs)
	adminServer := p.AdminServer
	if adminServer == "" {
		adminServer = p.APIServer
	}
	return append([]Leaf{
		{Name: APIServer, Authority: Kubernetes, CommonName: "kube-apiserver", Usages: server, DNSNames: apiNames, IPs: apiIPs},
		{Name: APIServerKubeletClient, Authority: Kubernetes, CommonName: "kube-apiserver-kubelet-client", Usages: client},
		{Name: APIServerEtcdClient, Authority: Etcd, CommonName: "kube-apiserver-etcd-client", Usages: client},
		{Name: EtcdServer, Authority: Etcd, CommonName: "etcd-server", Usages: both, DNSNames: distinct(etcdNames, []string{etcdSocketName}), IPs: etcdIPs},
		{Name: EtcdPeer, Authority: Etcd, CommonName: "etcd-peer", Usages: both, DNSNames: etcdNames, IPs: etcdIPs},
		{Name: FrontProxyClient, Authority: FrontProxy, CommonName: "front-proxy-client", Usages: client},
		{Name: ControllerManager, Authority: Kubernetes, CommonName: "system:kube-controller-manager", Usages: client,
			Kubeconfig: "controller-manager.kubeconfig", Server: p.APIServer},
		{Name: ControllerManagerServer, Authority: Kubernetes, CommonName: "kube-controller-manager", Usages: server, DNSNames: localhost, IPs: loopback},
		{Name: Scheduler, Authority: Kubernetes, CommonName: "system:kube-scheduler", Usages: client,
			Kubeconfig: "scheduler.kubeconfig", Server: p.APIServer},
		{Name: SchedulerServer, Authority: Kubernetes, CommonName: "kube-scheduler", Usages: server, DNSNames: localhost, IPs: loopback},
		{Name: Supervisor, Authority: Kubernetes, CommonName: "kedge:supervisor", Usages: client,
			Kubeconfig: "supervisor.kubeconfig", Server: p.APIServer},
		{Name: Admin, Authority: Kubernetes, CommonName: "kedge-admin", Organizations: []string{"system:masters"}, Usages: client,
			Export: p.AdminKubeconfig, ExportMode: p.AdminKubeconfigMode, Server: adminServer},
	}, NodeLeaves(p)...)
}

// NodeLeaves returns the leaves of a node: what a machine that is no server has, and needs NodeName, NodeIPs and APIServer for.
func NodeLeaves(p Params) []Leaf {
	user, group := "system:node:"+p.NodeName, []string{"system:nodes"}
	return []Leaf{
		{Name: KubeletClient, Authority: Kubernetes, CommonName: user, Organizations: group, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			Node: true, Kubeconfig: "kubelet.kubeconfig", Server: p.APIServer},
		{Name: KubeletServer, Authority: Kubernetes, CommonName: user, Organizations: group, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			Node: true, DNSNames: []string{p.NodeName}, IPs: distinct(p.NodeIPs)},
	}
}

// apiServerNames returns what the API server's serving certificate is good for.
func apiServerNames(p Params, localhost []string, loopback []netip.Addr) ([]string, []netip.Addr) {
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + p.ClusterDomain}
	var extraNames []string
	var extraIPs []netip.Addr
	for _, san := range p.TLSSANs {
		if ip, err := netip.ParseAddr(san); err == nil {
			extraIPs = append(extraIPs, ip)
		} else {
			extraNames = append(extraNames, san)
		}
	}
	return distinct(names, localhost, []string{p.NodeName}, extraNames), distinct(p.ServiceIPs, loopback, p.NodeIPs, extraIPs)
}

// distinct joins lists and keeps the first of each value.
func distinct[T comparable](lists ...[]T) []T {
	seen := map[T]bool{}
	var out []T
	for _, list := range lists {
		for _, v := range list {
			if !seen[v] {
				seen[v] = true
				out = append(out, v)
			}
		}
	}
	return out
}
