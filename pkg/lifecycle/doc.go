// Package lifecycle defines how the parts of kedge run: one interface, two compositions.
//
// The contract of a Component:
//
//   - Run blocks until ctx ends or the component cannot go on.
//   - Run calls ready exactly once, when the component can serve.
//   - Run returns only after everything it started has been cleaned up.
//   - Returning nil before ctx ended is an error of the component, and so is a panic; the composition reports both.
//   - Transient faults are retried inside, with back-off. A returned error ends the process.
//
// Sequence starts its components in order, each after the former is ready, and stops them in reverse.
// Parallel starts and stops them together. Both are Components, so that a role is one expression.
//
// The package imports nothing else of kedge and may be imported by every package.
package lifecycle
