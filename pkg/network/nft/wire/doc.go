// Package wire speaks nf_tables' netlink messages for one table, for components that write and read tens of thousands of set
// elements: pkg/network/proxy/nftables imports it, others may. Rules are lists of github.com/google/nftables expressions.
//
// Invariants: a Batch is one transaction, sent in one datagram and applied by the kernel as a whole or not at all. Nothing waits:
// the kernel has done its work and queued its answers when the send returns. A Conn belongs to the network namespace of the
// thread that opened it and is used by one goroutine at a time.
package wire
