// Package overlay leads packets of pods from node to node: through VXLAN (RFC 7348, VNI 1, 8472/udp), directly where
// nodes share a subnet (backend host-gw), or not at all (backend none). pkg/agent runs it, what resets a machine imports it.
//
// For each peer that is reached through VXLAN the kernel gets, for each of the peer's pod CIDRs, a route by the network
// address of that CIDR and a permanent neighbour entry for this address, and one FDB entry, which leads the peer's hardware address
// to its node address. Nothing is learnt or exchanged: hardware addresses follow from the nodes' names.
//
// There is one link per IP family of the node addresses, and only while a peer needs it: kedge-vxlan for peers with an IPv4
// address, which carries pods of both families, and kedge-vxlan6 for peers that share only IPv6 with this node.
//
// Invariants:
//
//   - What the kernel shall hold is a pure function of the nodes and of this node's addresses (Plan). The kernel gets the difference.
//     Repeating it changes nothing, so that connections of pods survive a restart; what a former process left is adopted or removed.
//   - Links named kedge-vxlan and kedge-vxlan6 with everything on them, routes of protocol 107, and the chains and sets vxlan-* of the table
//     `inet kedge` belong to the package. Nothing else is touched.
//   - Changes made by others are noticed by the kernel's own notifications and repaired. Nothing is polled.
//   - Before the nodes are known, and while this node has no pod CIDR, nothing is changed.
//   - VXLAN packets are taken from peers only, and pods can send none to nodes.
package overlay
