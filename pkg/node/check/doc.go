// Package check examines whether a machine can run kedge: what was found, what it is needed for and how to mend it.
// It changes nothing, except that it may load kernel modules when it is asked to.
//
// pkg/node/preflight and pkg/cli import it; it imports pkg/config and its siblings machine, kernel, ports and lock.
package check
