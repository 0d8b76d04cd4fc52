// Command pauseimage turns the static pause program into an OCI image archive.
//
//	pauseimage PROGRAM ARCHITECTURE REFERENCE >archive.tar
//
// The same program gives the same archive, byte for byte: no time, owner or host enters it.
// Only scripts/build runs it.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: pauseimage PROGRAM ARCHITECTURE REFERENCE >archive.tar")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pauseimage:", err)
		os.Exit(1)
	}
}

func run(program, arch, ref string, out io.Writer) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	img, err := newImage(binary, arch)
	if err != nil {
		return fmt.Errorf("assemble image: %w", err)
	}
	dir, err := os.MkdirTemp("", "pauseimage-")
	if err != nil {
		return fmt.Errorf("create directory for the image: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := writeLayout(dir, img, arch, ref); err != nil {
		return fmt.Errorf("write OCI layout: %w", err)
	}
	return writeTar(out, dir)
}
