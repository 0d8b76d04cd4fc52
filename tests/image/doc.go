// Package image builds container images and image archives for tests, without a registry and without a network.
//
// The image holds Debian's static busybox (package busybox-static), its applets as links, and the program in
// tests/image/probe, built for the purpose. Only tests and benchmarks import the package. It holds no state;
// every function may be called at any time.
package image
