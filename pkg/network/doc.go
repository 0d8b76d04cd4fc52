// Package network is the parent of the packages that give pods and services their network: cni (the pods' links,
// addresses and host ports), dns, overlay, proxy and policy, and nft (idioms shared by them). It holds no code.
//
// Invariants of all of them: the kernel is spoken to over netlink only; all rules live in the one nftables table
// `inet kedge`, in which each package owns the chains and sets whose names begin with its own prefix ("pod-" for cni).
package network
