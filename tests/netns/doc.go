// Package netns tests what needs a kernel's network and nothing else, with real connections in fresh network namespaces. It has
// no code outside of tests (its part space has: benchmarks use it) and nobody imports it.
//
// Each test runs as a process of its own, whose network namespace is the node; pods, another node and what lies outside are
// namespaces that it makes. The machine's own namespace is never touched. No other program is needed and no file beside the
// test binary, so that it also runs in a virtual machine that holds nothing else.
//
// The tests of the service proxy are the same for both of its backends. KEDGE_PROXY names one (nftables or ipvs); by default
// nftables is tested, and ipvs where the kernel has it. A backend that is named and is not there fails.
// KEDGE_SOAK is how long the soak lasts (20s by default; 0 leaves it out).
package netns
