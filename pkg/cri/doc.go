// Package cri writes the configuration of containerd, the container runtime that a node runs in its own process.
//
// The packages below it fill the runtime's surroundings: registries turns registries.yaml into containerd's hosts.toml
// tree and answers for the registries that need credentials or rewritten names; images imports image archives.
//
// Config is a pure function of its options: the same options give the same bytes. Nothing secret is in them.
// pkg/agent and the command line import the package; it knows containerd's client and file formats, never its server.
package cri
