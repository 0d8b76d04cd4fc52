// Package lock makes a data directory belong to one running kedge at a time.
//
// The lock is the kernel's (flock on an open file), so that it ends with the process however that ends; what is written
// in the file only names the holder. The descriptor is closed on exec: nothing that kedge starts inherits the lock.
//
// pkg/server, pkg/agent, pkg/node/reset and pkg/cli import it; it imports only pkg/node/machine.
package lock
