// Command coredns is a CoreDNS with the plugins that the Corefiles of the e2e specs name.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/whoami"
)

func main() {
	// The order in which a query passes the plugins; a directive that is not listed is an error in a Corefile.
	dnsserver.Directives = []string{"reload", "log", "errors", "cache", "template", "hosts", "forward", "whoami"}
	coremain.Run()
}
