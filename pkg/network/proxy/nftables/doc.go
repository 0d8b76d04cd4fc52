// Package nftables brings the wish of the service proxy into nftables: it is the state.Backend for kernels without IPVS.
// pkg/network/proxy imports it, and tests.
//
// Invariants: everything is in chains and sets `svc-…` of the table `inet kedge`, and in one local route for each service CIDR;
// nothing else is touched. Sync and Update are one transaction each, so that a lookup sees the old or the new services. A packet needs
// several lookups, between which a transaction may come: the rules expect it (dispatch, chosenRules). What a packet
// costs depends on the number of neither services nor endpoints; packets of established connections are not looked at.
// Needs Linux 5.9 or newer, for refusals at prerouting; tested with 6.1 and 6.18.
//
// # The way of a connection
//
// svc-prerouting and svc-output look the destination up in svc-services4: it gives a class, which says how many endpoints
// there are and in which chain one is chosen; classes are shared by all services with equal numbers. The chain takes a random
// number below that count, finds the endpoint under address, protocol, port and number in svc-endpoints4, and translates. So the arrival of an
// endpoint is one element more and another class in another. (A map of verdicts would do without classes, but the kernel examines all
// of such a map at each change: 8 ms at 10,000 services.) Node ports are services of the address 0.0.0.0 or ::.
//
// The class goes from one lookup to the next in the packet's priority, which is set to 0 afterwards: nft cannot show a
// rule in which the result of one lookup is the key of another, and ends. The mark bit 0x2000 says that the connection may need
// another source address; svc-postrouting clears it.
package nftables
