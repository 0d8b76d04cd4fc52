// Package machine finds out what the machine under kedge is: its cgroups, capabilities, memory and clock.
// Everything is read from the kernel's own files, nothing is executed and nothing is changed. Detect is what a start
// needs and costs a few milliseconds; the other functions serve `kedge check`.
//
// Every package may import it; it imports no other package of kedge.
package machine
