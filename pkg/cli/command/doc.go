// Package command is kedge's command line: its commands, their flags, what they print, and the exit status.
// The programs behind the commands are handed to it (Programs), so that the command line can be tested without
// linking all of Kubernetes.
//
// Exit status: 0 when the command did what it was asked to, 1 when it failed, 2 when it was used wrongly (unknown
// command or flag, wrong configuration). An error is printed once, on standard error, behind "kedge: ".
//
// Only pkg/cli may import it.
package command
