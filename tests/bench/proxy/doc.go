// Command proxy measures kedge's service proxy beside upstream's kube-proxy and prints a table in Markdown.
//
// Every measurement has a network namespace of its own, with a client pod and one namespace that answers on every pod address. A small
// API server in it lists and watches services, endpoint slices and the node; the proxy is a process of its own that sees nothing
// else. What is in the kernel is found out by connecting, not by asking the proxy. The kernel is the machine's: kube-proxy calls
// iptables, nft and ipset, which must be installed.
package main
