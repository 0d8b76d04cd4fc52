// Package datastore is the server's share of the cluster's state: a member of etcd, who else is a member, and the way to them.
//
// A cluster begins with one member, which nobody else can reach. It gets company by servers that join as learners, are promoted
// when they have caught up, and are removed when their Node is gone. Each API server uses the member of its own process.
//
// Members reach each other through the door, TCP port 2380 of the node's address, which passes connections on to the member
// without opening them: to its socket for clients when the TLS handshake asks for the socket's name, as a joining server does, and to its port for
// peers otherwise. Both want a certificate of the etcd authority, which only servers have. The door is closed while there is
// one member and no server may join.
//
// pkg/server and pkg/cli import it. The member itself is embedded/etcd.
package datastore
