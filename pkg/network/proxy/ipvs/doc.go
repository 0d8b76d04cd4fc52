// Package ipvs is the IPVS backend of the service proxy: virtual servers in the kernel for every address and port of a service,
// nftables rules before and after them for what IPVS does not do (who may connect, refusing, source addresses), and local
// routes that lead service addresses to it. pkg/network/proxy and its tests import it.
//
// # The way of a packet
//
// nftables prerouting or output decides about a new connection: it is refused, dropped, or its packet is marked. A local route
// brings it to the node itself, where IPVS picks the endpoint and translates the destination. nftables postrouting translates the
// source when the mark asks for it, and rules after all that put the source of answers right. Connections from outside that have
// other endpoints than those from inside (traffic policy Local) get a firewall mark with a virtual server of its own.
//
// # Invariants
//
// Virtual servers of kedge carry a label in their flags (vs.Label), routes a protocol number, chains and sets the prefix
// svc-ipvs-: so they are known again after a crash or an unclean change of mode, and what others made is never touched. The exception is
// an address in the cluster's service CIDRs, which nobody else may use: a virtual server that is wanted there is taken over.
// An entry becomes known to the rules after its virtual server is there, and is forgotten before it goes, so that no packet to a
// service reaches a process of the node. A backend belongs to the network namespace of the thread that called New.
package ipvs
