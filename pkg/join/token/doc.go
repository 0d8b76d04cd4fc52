// Package token is what lets a machine join a cluster: a text that names the cluster by the fingerprint of its root
// certificate and carries the secret of a Kubernetes bootstrap token,
//
//	<sha256 of the root certificate's DER form, 64 hexadecimal digits>::<id>.<secret>
//
// (https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/). The fingerprint comes first, because it is
// checked first: the secret is sent only to a server that has shown this root. What the token is good for, its role, is
// not in the text but in the cluster, as a group of the bootstrap token.
//
// A Token does not log its secret. Any package may import this one; it imports none of kedge.
package token
