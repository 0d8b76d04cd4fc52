// Package vs speaks with the kernel's IPVS (IP Virtual Server) over generic netlink. It knows nothing of services or policies;
// pkg/network/proxy/ipvs is the only package that imports it.
//
// Many requests travel in one message and are answered together: only the last asks for an acknowledgement, the kernel reports the
// others when they fail. Every wait for the kernel is bounded.
//
// Invariants: a Conn belongs to the network namespace of the thread that opened it, for good. It may be used by one goroutine at a time.
// The attributes are those of include/uapi/linux/ip_vs.h.
package vs
