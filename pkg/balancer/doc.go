// Package balancer is a TCP load balancer from a port on the loopback interface to the cluster's API servers, inside the process
// of an agent. pkg/agent imports it.
//
// It passes bytes and looks into none: TLS is between the client and the API server. A connection stays with its server until one
// of them ends it; a failure of one server ends the connections to that server and to no other. Each node ranks the
// servers in an order of its own (rendezvous hashing by the node's name), which spreads nodes over servers and moves few of them when
// the list changes. New connections go to the first server of that order that is not known to be down.
//
// A server is found to be down by a connection to it that fails, and only then is it asked actively, until it answers again. A server that
// vanishes without a word (power cut, cable) is found by the kernel: sent data must be acknowledged within 1.5 s, and one
// connection to each server has a keep-alive probe of 1 s; when the kernel gives one of them up, all connections to that server are closed.
// While only one server is known there is nowhere else to go, and the limits are 30 s and 15 s, so that a short outage costs no
// connection. The probes are the kernel's; at rest the process itself does nothing.
//
// The servers are the endpoints of the service default/kubernetes (SetServers), remembered in a file across restarts, and, as the last
// resort, the one that the user named.
package balancer
