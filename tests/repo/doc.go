// Package repo checks the rules of this repository: how its Go files are written, who imports whom, what the
// executable may link, how the scripts begin. Each rule stands beside its reason; an exception is listed with one.
//
// Nothing imports it. `scripts/test repo` runs it; it needs the sources only, no build.
package repo
