// Package version tells what this executable is: its own version and the version of Kubernetes that it shows.
//
// scripts/build sets the values at link time from git; without it (go build, go test) they say so.
// The package imports nothing and may be imported by every package.
package version

// The linker's -X writes package variables only. Nothing else writes them.
//
//nolint:gochecknoglobals // targets of -X
var (
	// Version is kedge's version, a semantic version with a leading v: a release (v0.1.0), a commit after one
	// (v0.1.0-3-gd1a2b3c4d5e6), a commit before the first (v0.1.0-dev+d1a2b3c4d5e6), each with -dirty when the
	// checkout was changed, or v0.0.0-unknown.
	Version = "v0.0.0-unknown"
	// Commit is the full git commit, empty when it is not known.
	Commit = ""

	kubernetes = "v1.36.3+kedge.0.0.0-unknown"
)

// Kubernetes is the version that `kubectl version` and the nodes' kubeletVersion show: the version of the
// Kubernetes sources with kedge's as build metadata, such as v1.36.3+kedge.0.1.0.
func Kubernetes() string { return kubernetes }
