package approve

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kedge/pkg/join/token"
)

// Reserved are names and addresses that no node may have a certificate for.
type Reserved struct {
	Names     []string       // those of the API server's certificate
	Addresses []netip.Addr   // likewise
	Networks  []netip.Prefix // of services and pods
}

// world is what is known of the cluster when a request is decided.
type world struct {
	reserved Reserved
	node     *nodeState // of the name that is asked for; nil: there is none
	owner    owner      // who has one of the addresses that are asked for
	givenTo  []byte     // the public key that the name was given to in the last minute; nil: none
}

// nodeState is what is known of a node.
type nodeState struct {
	server  bool          // a server runs on it
	silent  bool          // the cluster has noticed that it does not report
	heard   bool          // it has reported since the request was first seen
	watched time.Duration // how long nothing was heard of it
	lease   time.Duration // how long it may be silent
}

// owner is the node that has an address; empty: none.
type owner struct {
	name    string
	address netip.Addr
}

type verdict int

const (
	refuse verdict = iota
	allow
	wait // decide again later
)

// decide applies the rules of the package. The text says why.
func decide(r request, w world) (verdict, string) {
	switch {
	case slices.Contains(w.reserved.Names, r.node) || isService(r.node):
		return refuse, fmt.Sprintf("the name %s belongs to a server; give this machine another --node-name", r.node)
	case r.by != "" && r.by != r.node:
		return refuse, fmt.Sprintf("the node %s asks for the name %s; a node gets certificates for its own name only", r.by, r.node)
	case r.by == "" && r.serving:
		return refuse, "a token asks for a serving certificate; only the node itself gets one"
	case r.by == "":
		return decideJoin(r, w)
	case r.serving:
		return decideServing(r, w)
	}
	return allow, "the node asks for its own name"
}

// isService tells whether a name is one that pods call services by.
func isService(name string) bool {
	return name == "localhost" || name == "kubernetes" || strings.HasPrefix(name, "kubernetes.default") ||
		strings.HasSuffix(name, ".svc") || strings.Contains(name, ".svc.")
}

func decideJoin(r request, w world) (verdict, string) {
	const advice = "give this machine another --node-name"
	n := w.node
	switch {
	case n == nil && w.givenTo != nil && !r.sameKey(w.givenTo):
		return wait, "another machine that got this name may be starting"
	case n == nil:
		return allow, "there is no node of this name"
	case n.server && r.role != token.Server:
		return refuse, fmt.Sprintf("the node %s is a server; %s, or delete the node if the server is gone for good", r.node, advice)
	case n.heard:
		return refuse, fmt.Sprintf("a live node has the name %s; %s", r.node, advice)
	case n.silent:
		return allow, "the node of this name does not report: the machine was reinstalled"
	case n.watched >= n.lease:
		return allow, fmt.Sprintf("the node of this name has been silent for %s: the machine was reinstalled", n.watched.Round(time.Second))
	}
	return wait, "a node of this name may be alive"
}

func decideServing(r request, w world) (verdict, string) {
	if !slices.Equal(r.names, []string{r.node}) {
		return refuse, fmt.Sprintf("the names are %q; a node gets a serving certificate for its own name only", r.names)
	}
	if len(r.ips) == 0 {
		return refuse, "no address is asked for"
	}
	for _, ip := range r.ips {
		if why := w.reserved.objection(ip); why != "" {
			return refuse, fmt.Sprintf("the address %s %s; give this machine another --node-ip", ip, why)
		}
	}
	if w.owner.name != "" {
		return refuse, fmt.Sprintf("the address %s is the node %s's; give this machine another --node-ip", w.owner.address, w.owner.name)
	}
	return allow, "the node asks for its own name and addresses"
}

// objection says why no node may have an address, or nothing.
func (r Reserved) objection(ip netip.Addr) string {
	switch {
	case !ip.IsGlobalUnicast():
		return "is not the address of a machine"
	case slices.Contains(r.Addresses, ip):
		return "belongs to a server"
	case slices.ContainsFunc(r.Networks, func(p netip.Prefix) bool { return p.Contains(ip) }):
		return "is one of services or pods"
	}
	return ""
}
