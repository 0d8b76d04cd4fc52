// Package nft writes nftables rules as short Go expressions and replaces one component's part of the table in one
// transaction. It knows nothing of pods or services and may be imported by every package below pkg/network.
//
// Invariants: everything lives in the table `inet kedge`. A component names its chains and sets with a prefix of its own;
// Plan.Apply touches nothing without that prefix, so that components never disturb each other. Connections that are
// established keep their translation when a plan is applied: it is stored in the connection, not in the rule.
package nft
