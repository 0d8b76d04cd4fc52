// Package preflight makes a machine ready for a node and refuses one that is not fit: all that is wrong is reported at
// once. What it sets stays set: kernel parameters, loaded modules, limits, mount propagation.
//
// pkg/server and pkg/agent import it; it imports pkg/config and its siblings check, machine and ports.
package preflight
