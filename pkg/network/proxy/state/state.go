package state

import (
	"net/netip"
	"time"

	"k8s.io/kubernetes/pkg/proxy"
)

// Key names one port of one Service in one IP family.
type Key struct {
	proxy.ServicePortName
	V6 bool
}

// Service is what is wanted for one Key.
type Service struct {
	Key       Key
	Protocol  uint8         // IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP
	Affinity  time.Duration // of ClientIP session affinity, whole seconds; 0: none
	Scheduler string        // IPVS scheduler that the Service's annotation asks for; "": the node's default
	Endpoints bool          // there is an endpoint somewhere, reachable from here by some policy or not
	Cluster   []Endpoint    // for traffic policy Cluster, after topology; sorted
	Local     []Endpoint    // for traffic policy Local: those on this node; sorted
	Frontends []Frontend    // sorted by address and port
}

// Endpoint is one that connections may be sent to.
type Endpoint struct {
	netip.AddrPort
	Local bool // on this node
}

// Frontend is an address and port that a Service answers on.
type Frontend struct {
	Address    netip.Addr     // not valid: a node port, which is every one of Node.NodePortAddresses
	Port       uint16         // never 0
	Kind       Kind           // for rules that differ and for messages
	Inside     Pool           // for connections from pods and from this node
	Outside    Pool           // for all other connections
	KeepSource bool           // connections from outside keep their source address (externalTrafficPolicy Local)
	Sources    []netip.Prefix // who may connect (loadBalancerSourceRanges), others are dropped; empty: everybody
}

// Kind is where a Frontend comes from.
type Kind uint8

// The kinds of frontends.
const (
	ClusterIP Kind = iota
	ExternalIP
	LoadBalancer
	NodePort
)

// Pool is one of the two lists of endpoints of a Service.
type Pool uint8

// The pools.
const (
	Cluster Pool = iota
	Local
)

// Node is what a backend has to know about this machine. It is the same for all services.
type Node struct {
	Name              string
	ClusterCIDRs      []netip.Prefix // of pods, of both families
	PodCIDRs          []netip.Prefix // of the pods of this node, inside ClusterCIDRs; none: not known (yet), every pod counts as one of this node
	ServiceCIDRs      []netip.Prefix // of cluster IPs, of both families
	NodePortAddresses []netip.Addr   // the node's own addresses that answer node ports, of both families; sorted
	Addresses         []netip.Addr   // the node's addresses as Kubernetes knows them, one of each family at most
	Own               []netip.Addr   // addresses in ServiceCIDRs that this process itself answers on port 53 (the cluster DNS): that port is not the proxy's
}

// Change is what has become of one Key: Old is nil for a new one, New is nil for one that is gone.
type Change struct{ Old, New *Service }

// Backend is what applies a wish to one kernel facility. Calls come one at a time.
type Backend interface {
	// Sync makes the kernel equal to all, whatever it holds: at the start, and now and then, to repair what others changed. It
	// writes only what differs, so that established connections and services that stay are not disturbed, and returns how
	// many differences it found. The map is the caller's: it may change after the call, the Services in it never do.
	Sync(node Node, all map[Key]*Service) (int, error)
	// Update applies changes to what the last Sync or Update wanted, without reading the kernel. After an error the caller syncs.
	// A frontend may pass from one Service to another within one call; the change that frees it comes first.
	Update(changes []Change) error
	// Close ends background work (draining) and releases sockets. It leaves the kernel as it is.
	Close() error
}
