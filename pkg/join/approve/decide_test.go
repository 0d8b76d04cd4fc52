package approve

import (
	"net/netip"
	"testing"
	"time"

	"kedge/pkg/join/token"
)

func addresses(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func TestDecide(t *testing.T) {
	reserved := Reserved{
		Names: []string{"kubernetes", "localhost", "first", "api.example"}, Addresses: addresses("192.0.2.1", "127.0.0.1", "10.43.0.1"),
		Networks: []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16"), netip.MustParsePrefix("10.42.0.0/16")},
	}
	node := func(n nodeState) *nodeState {
		n.lease = 40 * time.Second
		return &n
	}
	join := request{role: token.Agent, node: "edge", key: []byte("mine")}
	serve := func(names []string, ips ...string) request {
		return request{by: "edge", node: "edge", serving: true, names: names, ips: addresses(ips...)}
	}
	own := []string{"edge"}
	for _, c := range []struct {
		name string
		r    request
		w    world
		want verdict
		why  string
	}{
		{"new machine", join, world{}, allow, "there is no node of this name"},
		{"asks again", join, world{givenTo: []byte("mine")}, allow, "there is no node of this name"},
		{"two of one name", join, world{givenTo: []byte("another's")}, wait, "another machine that got this name may be starting"},
		{"first look at a node that reports", join, world{node: node(nodeState{})}, wait, "a node of this name may be alive"},
		{"not heard yet", join, world{node: node(nodeState{watched: 39 * time.Second})}, wait, "a node of this name may be alive"},
		{"heard", join, world{node: node(nodeState{heard: true, watched: 10 * time.Second})}, refuse, "a live node has the name edge; give this machine another --node-name"},
		{"back after silence", join, world{node: node(nodeState{heard: true, silent: true})}, refuse, "a live node has the name edge; give this machine another --node-name"},
		{"silent for a lease", join, world{node: node(nodeState{watched: 40 * time.Second})}, allow, "the node of this name has been silent for 40s: the machine was reinstalled"},
		{"known to be silent", join, world{node: node(nodeState{silent: true})}, allow, "the node of this name does not report: the machine was reinstalled"},
		{"silent server, agent's token", join, world{node: node(nodeState{silent: true, server: true})}, refuse,
			"the node edge is a server; give this machine another --node-name, or delete the node if the server is gone for good"},
		{"silent server, server's token", request{role: token.Server, node: "edge"}, world{node: node(nodeState{silent: true, server: true})}, allow,
			"the node of this name does not report: the machine was reinstalled"},
		{"server's name", request{role: token.Agent, node: "first"}, world{}, refuse, "the name first belongs to a server; give this machine another --node-name"},
		{"name in a certificate", request{role: token.Agent, node: "api.example"}, world{}, refuse, "the name api.example belongs to a server; give this machine another --node-name"},
		{"service's name", request{role: token.Agent, node: "web.default.svc"}, world{}, refuse, "the name web.default.svc belongs to a server; give this machine another --node-name"},
		{"serving with a token", request{role: token.Agent, node: "edge", serving: true}, world{}, refuse, "a token asks for a serving certificate; only the node itself gets one"},

		{"renewal", request{by: "edge", node: "edge"}, world{}, allow, "the node asks for its own name"},
		{"another's name", request{by: "edge", node: "shop"}, world{}, refuse, "the node edge asks for the name shop; a node gets certificates for its own name only"},
		{"another's serving name", request{by: "edge", node: "shop", serving: true}, world{}, refuse, "the node edge asks for the name shop; a node gets certificates for its own name only"},

		{"serving", serve(own, "192.0.2.7", "2001:db8::7"), world{}, allow, "the node asks for its own name and addresses"},
		{"no name", serve(nil, "192.0.2.7"), world{}, refuse, "the names are []; a node gets a serving certificate for its own name only"},
		{"a name more", serve([]string{"edge", "first"}, "192.0.2.7"), world{}, refuse, `the names are ["edge" "first"]; a node gets a serving certificate for its own name only`},
		{"no address", serve(own), world{}, refuse, "no address is asked for"},
		{"server's address", serve(own, "192.0.2.7", "192.0.2.1"), world{}, refuse, "the address 192.0.2.1 belongs to a server; give this machine another --node-ip"},
		{"service's address", serve(own, "10.43.7.7"), world{}, refuse, "the address 10.43.7.7 is one of services or pods; give this machine another --node-ip"},
		{"loopback", serve(own, "127.0.0.1"), world{}, refuse, "the address 127.0.0.1 is not the address of a machine; give this machine another --node-ip"},
		{"another's address", serve(own, "192.0.2.8"), world{owner: owner{"shop", addresses("192.0.2.8")[0]}}, refuse,
			"the address 192.0.2.8 is the node shop's; give this machine another --node-ip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.w.reserved = reserved
			if got, why := decide(c.r, c.w); got != c.want || why != c.why {
				t.Errorf("got %d, %s\nwant %d, %s", got, why, c.want, c.why)
			}
		})
	}
}
