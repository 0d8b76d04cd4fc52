// Package join makes a machine a member of a cluster, with nothing but the Kubernetes API of one of its servers.
//
// The order is: a TLS handshake in which the server shows its chain up to the root, whose fingerprint must be the token's;
// a certificate signing request with the token's secret, sent to nobody else than who can show a certificate of this root; with
// the client certificate that comes back, system:node:NAME, the values that all machines of the cluster share and the kubelet's
// serving certificate. From then on the machine has an identity of its own: later starts and renewals need no token.
//
// What can heal is tried again with growing pauses until the context ends: a server that is not there yet, one that is
// starting, a clock that is being set. What cannot heal is an error that says what was found and what to do.
//
// pkg/agent uses this package. The other side is pkg/join/approve, tokens are pkg/join/token.
package join
