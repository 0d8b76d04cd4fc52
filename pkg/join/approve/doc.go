// Package approve decides which machines get a node's certificates. kube-controller-manager signs what was approved;
// its own approving controller, which looks at rights alone and not at names and addresses, is off.
//
// The rules (decide is a pure function of a request and of what is known of the cluster):
//
//   - A token gets a client certificate for a name that no live node has. A node lives while its lease is renewed, as seen from
//     here: clocks of machines are not compared. So a machine that was reinstalled gets its old name back when the node has
//     been silent for a lease's duration (40 s; a request waits that long), and the name of a node that reports is refused
//     as soon as it reports (within 10 s). A name that was given out in the last minute is taken, too. A machine that joins as a
//     server asks in the same way, for the name alone.
//   - A node gets a client certificate for its own name, and none for another's.
//   - A node gets a serving certificate for its own name and for addresses that are nobody else's: not of another node that lives, not
//     of a server, not of services or pods, not loopback. Names of the API server's are never given to nodes, because whoever
//     has a certificate for them could pass for it.
//   - What does not look like a kubelet's request to one of the two signers is left to the administrator.
//
// The limits: a token can take the name of a node that has been cut off for longer than its lease, and gets what
// is bound to it; a certificate cannot be taken back before it expires; addresses of nodes are known from nodes themselves.
//
// pkg/server runs the approver. It imports pkg/join/token and pkg/lifecycle alone of kedge.
package approve
