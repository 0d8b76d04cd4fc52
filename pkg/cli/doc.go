// Package cli is the entry of the executable: it joins the command line (pkg/cli/command) with the programs behind it
// and the process's standard streams. It and the package below it are the only ones that print or exit.
// Only cmd/kedge imports it.
package cli
