// Package state says what the service proxy wants of the kernel, without saying how the kernel is told. The proxy computes it,
// its backends (pkg/network/proxy/ipvs, pkg/network/proxy/nftables) apply it; nobody else imports it.
//
// Invariants: values are immutable once they have been handed to a backend, so that an old and a new one can be compared;
// every slice is sorted and without duplicates, so that equal wishes are equal values; all addresses of a Service are of one family;
// ranges of Sources do not overlap; of all Services that a backend is told of, no two have a frontend in common (protocol, port and
// address, or no address): the proxy leaves it out in all but one. The address of one may still be among Node.NodePortAddresses.
//
// # How a connection to a service is handled
//
// Who connects is either inside (a pod of the cluster, the address being in Node.ClusterCIDRs, or this node itself) or outside.
// A Frontend names the pool for each. An empty pool refuses at once (TCP reset, ICMP port unreachable) when the service has no
// endpoint at all, and drops silently when endpoints exist elsewhere but the traffic policy keeps the connection from them.
//
// The source address is replaced by one of the node's in exactly these cases: the pod reaches itself (hairpin); the
// connection comes from outside the cluster's CIDRs, unless Frontend.KeepSource; this node itself reaches a pod of another node;
// a pod of another node, which uses a node port of this one, is sent to an endpoint that is not on this node, which would else
// answer past this node.
//
// # Two backends
//
// When the mode changes, the new backend serves before the former is cleaned away. So each tells its own parts of the table from the
// other's: package ipvs owns the names that begin with svc-ipvs-, package nftables the other ones that begin with svc-.
package state
