// Package server runs the server role: a control plane and, unless the agent is disabled, a node. It is the ordered
// list of the parts and what each is told; the parts themselves are in embedded/* and the other pkg/*. Only pkg/cli
// imports it.
package server
