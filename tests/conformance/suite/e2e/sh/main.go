// Command sh is /bin/sh of the test images: it becomes busybox's shell, whose messages specs compare, or bash when the
// environment has a name that is no identifier. Debian's busybox does not hand such a variable on, and a spec looks for it.
package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"syscall"
)

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

func main() {
	environment := os.Environ()
	shell := "/bin/busybox"
	if slices.ContainsFunc(environment, func(variable string) bool { return !identifier.MatchString(variable) }) {
		shell = "/bin/bash"
	}
	err := syscall.Exec(shell, os.Args, environment) // both take their behaviour from the name sh in the first argument
	fmt.Fprintf(os.Stderr, "sh: start %s: %v\n", shell, err)
	os.Exit(127)
}
