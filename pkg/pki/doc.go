// Package pki keeps the certificates of a cluster: one root, three intermediates, and the leaves that a table names.
//
// The root (ECDSA P-256, 20 years) issues the authorities kubernetes, etcd and front-proxy, and nothing else. A component trusts
// exactly one of them: kubernetes-ca.crt, etcd-ca.crt and front-proxy-ca.crt each hold one intermediate alone, which Go accepts
// as a trust anchor. Clients built on OpenSSL want a self-signed anchor unless told otherwise; pods and users' kubeconfigs
// therefore get ca-bundle.crt, which holds the kubernetes intermediate and the root. The front-proxy intermediate is limited to
// client authentication, so that trusting the root does not make its leaves servers.
//
// A leaf's .crt holds the leaf, its intermediate and the root, so that whoever connects for the first time can compare the
// root with the fingerprint in a join token. NotBefore is a day in the past, for machines whose clocks differ.
//
// Invariants:
//
//   - The authorities and the service account key appear in the directory all at once: they are made beside it and renamed into
//     place. A directory that holds some of them and not others was damaged later, and Ensure refuses it without a change.
//     Only root.key may be absent: nothing needs it once the intermediates exist, and it is safer elsewhere.
//   - Every file is written to a temporary file, synced, and renamed. A leaf's key is in place before its certificate.
//   - A leaf that is missing, damaged, foreign or different from the table is issued anew at start. What cannot be read is kept
//     as NAME.damaged-<unix time>.
//   - Renewal keeps the private key and replaces one file, the certificate, in one rename. Key and certificate match at every
//     moment, so components may read the two files in any order at any time: client-go does so every five minutes and at each
//     handshake, the API server and the kubelet when the file changes, etcd at each handshake. None needs a restart.
//     client-go closes its connections when it sees the new certificate, and its callers dial again.
//   - Authorities and the service account key are never replaced.
//
// The package imports pkg/lifecycle alone of kedge. pkg/server, pkg/agent, pkg/join and pkg/cli may import it.
package pki
