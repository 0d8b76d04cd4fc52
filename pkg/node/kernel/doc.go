// Package kernel knows which features of the kernel kedge needs and finds out whether they are there, by using them in a
// throw-away network namespace where that is possible. A missing feature that exists as a module is loaded with
// finit_module(2); that a module cannot be loaded is no error when the feature works.
//
// pkg/node/check and pkg/node/preflight import it; it imports no other package of kedge.
package kernel
