// Package space makes network namespaces, links them and talks between them over TCP, UDP and SCTP, without any other program.
// Tests and benchmarks import it.
//
// Invariants: a Space lives as long as it is not closed or a socket in it is open; nothing has a name outside of the process, so
// that nothing is left when the process ends, however it ends. Methods may be called at once from several goroutines.
package space
