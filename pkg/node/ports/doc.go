// Package ports lists the ports a node listens on and finds out who holds one that is taken.
//
// pkg/node/check and pkg/node/preflight import it; it imports only pkg/node/machine.
package ports
