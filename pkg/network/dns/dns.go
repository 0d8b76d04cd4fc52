// Package dns configures the node's own CoreDNS: it answers cluster names on the cluster DNS address, which is local to
// every node, and forwards everything else to the host's resolvers, when there are any. The package renders the
// Corefile and follows the host's resolv.conf(5); embedded/coredns runs the server.
package dns

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxUpstreams is the number of forwarders CoreDNS accepts; resolv.conf(5) itself uses three.
const maxUpstreams = 15

// Config of the cluster's DNS on one node. All fields but ResolvConf are required.
type Config struct {
	Addresses  []netip.Addr // cluster DNS addresses to listen on
	Domain     string       // cluster domain, for example cluster.local
	Kubeconfig string       // identity that may list services, endpoint slices and namespaces
	ResolvConf string       // optional: the host's file of resolvers, by default the constant ResolvConf
}

// Corefile renders the configuration. Without upstreams the server answers cluster names only and everything else
// with SERVFAIL at once, so that nobody waits for a resolver that does not exist.
func (c Config) Corefile(upstreams []netip.AddrPort) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	addresses := make([]string, 0, len(c.Addresses))
	for _, a := range c.Addresses {
		addresses = append(addresses, a.String())
	}
	line(".:53 {")
	line("  bind %s", strings.Join(addresses, " "))
	line("  errors")
	line("  kubernetes %s in-addr.arpa ip6.arpa {", c.Domain)
	line("    kubeconfig %s", c.Kubeconfig)
	line("    pods insecure")
	line("    fallthrough in-addr.arpa ip6.arpa")
	line("    ttl 30")
	line("  }")
	if len(upstreams) > 0 {
		servers := make([]string, 0, len(upstreams))
		for _, u := range upstreams {
			servers = append(servers, u.String())
		}
		line("  forward . %s {", strings.Join(servers, " "))
		line("    max_concurrent 1000")
		line("  }")
	}
	line("  cache 30 {")
	line("    disable success %s", c.Domain)
	line("    disable denial %s", c.Domain)
	line("  }")
	line("  loadbalance")
	line("}")
	return b.String()
}

// Upstreams reads the name servers of a resolv.conf(5), in order and without repetition. Addresses on which the
// cluster's DNS itself listens are left out: forwarding to them would be a loop.
func Upstreams(resolvConf []byte, own []netip.Addr) []netip.AddrPort {
	var out []netip.AddrPort
	scanner := bufio.NewScanner(bytes.NewReader(resolvConf))
	for scanner.Scan() && len(out) < maxUpstreams {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err != nil || slices.Contains(own, addr.WithZone("")) {
			continue
		}
		if server := netip.AddrPortFrom(addr, 53); !slices.Contains(out, server) {
			out = append(out, server)
		}
	}
	return out
}
