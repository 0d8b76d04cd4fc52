//go:build payload

// Package runc pins the sources that the payload's runc is built from, in a module of its own: runc needs other
// versions of its libraries than Kubernetes does. Nothing imports it; scripts/payload builds inside it.
package runc

import _ "github.com/opencontainers/runc" // the program that scripts/payload builds
