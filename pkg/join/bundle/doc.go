// Package bundle hands the authorities of a cluster to servers that join it, through the Secret kube-system/kedge-bundle.
//
// The Secret's payload is encrypted with AES-256-GCM under a random data key; the data key is encrypted once for each server
// token that is good, under a key derived from the token's secret (HKDF-SHA-256). So the Secret alone, in a backup of etcd or
// in the hands of somebody who may read Secrets but knows no server token, reveals nothing. RBAC lets only holders of server
// tokens read it. It exists as long as there is a server token that is good: Publish makes it anew, with a new data key,
// whenever the set of server tokens changes.
//
// pkg/server and pkg/cli import it; it imports pkg/join/token alone of kedge.
package bundle
