package config

import (
	"io/fs"
	"net/netip"
	"slices"
)

// Role is what a machine does in the cluster.
type Role string

// The roles of a machine. A server runs the control plane and, unless --disable-agent is set, a node as well.
const (
	RoleServer Role = "server"
	RoleAgent  Role = "agent"
)

// Arg is one key=value argument that is handed to an upstream component unchanged.
type Arg struct {
	Key   string
	Value string
}

// String returns the argument as it is written in files and on the command line.
func (a Arg) String() string { return a.Key + "=" + a.Value }

// Config is the whole configuration of a process. Resolve returns it complete and valid; it is read-only afterwards.
// The option that sets a field, its default and its unit are in the table of options (Options).
type Config struct {
	Role       Role
	Layout     Layout
	ConfigFile string // the main configuration file, whether or not it exists

	NodeName   string       // a DNS subdomain name, lower case
	NodeIPs    []netip.Addr // the first is the primary address; at most one of each family
	NodeLabels []string     // key=value
	NodeTaints []string     // key[=value]:Effect

	Token     string
	TokenFile string
	Server    string // https://host:port; empty for the first server of a cluster

	ClusterReset bool // make a cluster of this server alone and end

	TLSSANs          []string
	BindAddress      netip.Addr // the unspecified address of the primary family listens on all addresses of both
	HTTPSListenPort  int
	AdvertiseAddress netip.Addr // never a loopback address

	ClusterCIDRs  []netip.Prefix // the first is of the primary family; at most one of each
	ServiceCIDRs  []netip.Prefix // the same families in the same order as ClusterCIDRs
	ClusterDNS    []netip.Addr
	ClusterDomain string

	DatastoreEndpoint string // empty: the embedded etcd

	OverlayBackend string // vxlan, host-gw or none
	ProxyMode      string // auto, ipvs, nftables or none
	ProxyScheduler string // rr, lc, sh ...
	// NodePortAddresses are networks, or PrimaryAddresses alone; empty: all addresses.
	NodePortAddresses []string

	Disable      []string
	DisableAgent bool

	KubeletArgs           []Arg
	APIServerArgs         []Arg
	ControllerManagerArgs []Arg
	SchedulerArgs         []Arg
	EtcdArgs              []Arg

	LogLevel  string // debug, info, warn or error
	LogFormat string // text or json

	WriteKubeconfig     string
	WriteKubeconfigMode fs.FileMode
	RegistriesFile      string
}

// FirstServiceIPs returns the first usable address of each service CIDR: the addresses of the kubernetes service.
func (c *Config) FirstServiceIPs() []netip.Addr {
	ips := make([]netip.Addr, 0, len(c.ServiceCIDRs))
	for _, p := range c.ServiceCIDRs {
		ips = append(ips, p.Masked().Addr().Next())
	}
	return ips
}

// Disabled tells whether --disable names a part of kedge.
func (c *Config) Disabled(name string) bool { return slices.Contains(c.Disable, name) }
