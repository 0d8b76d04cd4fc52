// Package cni gives pods their network: links, addresses, host ports and bandwidth limits. It answers kedge-cni on a Unix socket
// and is imported by pkg/agent (to run it) and by what resets a machine.
//
// A pod has a veth pair and no bridge. Inside: its address as /32 (/128), a default route over the link-local gateway
// 169.254.1.1 (fe80::1) and a permanent neighbour entry for it. On the host: a /32 (/128) route to the veth and a permanent
// neighbour entry. No ARP, no neighbour discovery and no duplicate address detection take place; nothing answers router solicitations.
//
// Traffic keeps its source inside the cluster: pod to pod, and pod to the addresses of its own node. What leaves the cluster's CIDRs
// is masqueraded, other nodes' addresses included.
//
// A host port answers on every local address of the host (or on its hostIP), from outside, from pods, from the pod itself and from the host.
// 127.0.0.1 works on the host: route_localnet is set on the veths of pods with host ports, and a rule drops whatever a pod sends
// to or from 127.0.0.0/8, so that it does not open the host's loopback to pods. [::1] cannot work: the kernel lets ::1 leave lo by no means.
// The service addresses that kedge adds to lo never answer host ports. Of two pods with one host port the newer has it.
//
// Invariants:
//
//   - An address is in use as long as its record is in the state directory. The record is written before the link is made and removed
//     after the link is gone. Nothing is removed when the process stops, so that pods keep their network across a restart.
//   - A record without its host link is stale (a power cut, a crash in the middle of ADD) and is released at start, before the socket
//     opens, or when the addresses run out. A call in flight holds its container's lock, so it is never taken for stale.
//   - The network configuration is in the configuration directory only while ADD can succeed.
//   - All rules are in the table `inet kedge`, in chains and sets named pod-*; a pod's coming and going touches its own elements only.
//     If somebody else changed them, the whole part is written anew.
//   - Links of pods are those named kdg* that carry the gateway's hardware address.
package cni
