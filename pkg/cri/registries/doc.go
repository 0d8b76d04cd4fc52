// Package registries makes containerd pull from where /etc/kedge/registries.yaml says. The file has K3s's format.
//
// What containerd's hosts.toml can express (mirrors in order, TLS) is written there and nothing stands in between.
// Credentials and rewritten repository names it cannot express: endpoints with either go through a relay, an HTTP server
// on loopback that speaks the distribution API and adds what is missing. It runs only when an endpoint needs it.
//
// Invariants: passwords and tokens never leave the process except towards the registry they belong to and the
// authorisation server that it names, and are never logged; the relay answers only who knows a secret of this run, which
// is written for containerd alone (0600); files appear whole or not at all; the default endpoint of a registry is always
// tried last.
//
// pkg/agent imports the package; the command line uses Load to check the file.
package registries
