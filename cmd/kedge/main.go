// Command kedge is a whole Kubernetes in one executable.
package main

import (
	"os"

	"kedge/pkg/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
