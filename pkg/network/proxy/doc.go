// Package proxy serves the addresses of Services on this node. It follows Services and EndpointSlices with the trackers of
// k8s.io/kubernetes/pkg/proxy, computes with package state what is wanted, and hands the differences to a backend (packages
// ipvs and nftables), which writes them to the kernel. pkg/agent runs it.
//
// A change is applied at once when the proxy is idle; changes that come in quick succession are applied together, so that the proxy
// takes a fifth of a processor at most. The work for a change depends on the change, not on the number of services. Every few
// minutes, and after an error, the backend compares the kernel with everything that is wanted and repairs it.
//
// Invariants:
//
//   - Nothing is written before all Services and EndpointSlices are known, and nothing is removed when the process ends: what
//     the kernel has from a former process serves until the first comparison, which writes only differences.
//   - A frontend (address or node port, protocol, port) belongs to one Service. If several want it, a cluster IP wins over a load
//     balancer's address, that over an external IP, and else the Service whose name is first.
//   - Wishes are computed, and the backend is called, by the goroutine of Run alone. Sockets are opened in its network namespace.
package proxy
