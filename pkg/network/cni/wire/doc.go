// Package wire is what kedge-cni and the process say to each other over the Unix socket, and the JSON of the CNI
// specification (1.0.0 and 1.1.0) as far as kedge speaks it. Only pkg/network/cni and cmd/kedge-cni import it.
//
// Invariants: one request and one response per connection, each a JSON document that ends with the writer's end of stream.
// The package imports nothing but the standard library, and of that nothing large: kedge-cni is started for every pod.
package wire
