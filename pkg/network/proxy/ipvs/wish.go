package ipvs

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"kedge/pkg/network/proxy/ipvs/vs"
	"kedge/pkg/network/proxy/state"
)

// entry is an address and port that a service answers on.
type entry struct {
	netip.AddrPort
	protocol uint8
}

// action is what happens to a new connection.
type action uint8

const (
	serve      action = iota // the virtual server of the address
	masquerade               // the same, with a source address of the node
	divert                   // the virtual server of a firewall mark
	refuse
	drop
)

// front is what the rules do with new connections to an entry.
type front struct {
	inside, outside action
	mark            uint32         // with divert
	sources         []netip.Prefix // who may connect; empty: everybody
	routed          bool           // the address has to be made local: it is not a cluster IP and not the node's
}

// server is a virtual server with its destinations, sorted.
type server struct {
	vs.Server
	drains bool // connections end, so that waiting for that makes sense; the ID of a firewall mark does not tell
	dests  []netip.AddrPort
}

// wish is all that the kernel has to hold for one state.Service. Each virtual server and each entry is in it once.
type wish struct {
	servers []server
	fronts  []fronted
	locals  []netip.Addr // endpoints on this node
}

// fronted is an entry and what happens there.
type fronted struct {
	entry
	front
}

// shaper turns state.Services into wishes.
type shaper struct {
	node      state.Node
	here      map[netip.Addr]bool                  // addresses of the node's links
	scheduler string                               // of services that ask for none
	usable    func(scheduler string) bool          // whether the kernel has it
	mark      func(state.Key, []entry) (id uint32) // the number that the service's firewall marks have in common
}

func (sh shaper) wish(s *state.Service) wish {
	w, id := wish{}, uint32(0)
	pools := map[state.Pool][]netip.AddrPort{state.Cluster: destinations(s.Cluster), state.Local: destinations(s.Local)}
	for _, f := range s.Frontends {
		entries := sh.entries(s, f)
		if f.Inside != f.Outside && id == 0 {
			id = sh.mark(s.Key, entries)
		}
		shape := sh.front(s, f, id)
		for _, e := range entries {
			w.addFront(e, shape)
			w.addServer(sh.server(s, vs.ID{V6: s.Key.V6, Protocol: s.Protocol, AddrPort: e.AddrPort}, pools[f.Inside]))
		}
		if f.Inside != f.Outside && len(entries) > 0 {
			w.addServer(sh.server(s, vs.ID{V6: s.Key.V6, Mark: markOf(id, f)}, pools[f.Outside]))
		}
	}
	for _, list := range [][]state.Endpoint{s.Cluster, s.Local} {
		for _, e := range list {
			if e.Local {
				w.locals = append(w.locals, e.Addr())
			}
		}
	}
	slices.SortFunc(w.locals, netip.Addr.Compare)
	w.locals = slices.Compact(w.locals)
	return w
}

// addFront adds an entry, or replaces what is to happen there.
func (w *wish) addFront(e entry, f front) {
	if i := slices.IndexFunc(w.fronts, func(o fronted) bool { return o.entry == e }); i >= 0 {
		w.fronts[i].front = f
		return
	}
	w.fronts = append(w.fronts, fronted{e, f})
}

// addServer adds a virtual server, or replaces it.
func (w *wish) addServer(v server) {
	if i := slices.IndexFunc(w.servers, func(o server) bool { return o.ID == v.ID }); i >= 0 {
		w.servers[i] = v
		return
	}
	w.servers = append(w.servers, v)
}

// entries are the addresses and ports that the frontend stands for.
func (sh shaper) entries(s *state.Service, f state.Frontend) []entry {
	if f.Address.IsValid() {
		return []entry{{netip.AddrPortFrom(f.Address, f.Port), s.Protocol}}
	}
	var all []entry
	for _, a := range sh.node.NodePortAddresses {
		if a.Is6() == s.Key.V6 {
			all = append(all, entry{netip.AddrPortFrom(a, f.Port), s.Protocol})
		}
	}
	return all
}

func (sh shaper) front(s *state.Service, f state.Frontend, id uint32) front {
	shape := front{
		inside: actionFor(s, f.Inside), outside: actionFor(s, f.Outside), sources: f.Sources,
		routed: (f.Kind == state.ExternalIP || f.Kind == state.LoadBalancer) && !sh.here[f.Address],
	}
	switch {
	case shape.outside != serve:
	case f.Inside != f.Outside:
		shape.outside, shape.mark = divert, markOf(id, f)
	case !f.KeepSource:
		shape.outside = masquerade
	}
	return shape
}

func actionFor(s *state.Service, p state.Pool) action {
	switch {
	case len(pool(s, p)) > 0:
		return serve
	case s.Endpoints:
		return drop
	}
	return refuse
}

func pool(s *state.Service, p state.Pool) []state.Endpoint {
	if p == state.Local {
		return s.Local
	}
	return s.Cluster
}

// server is the virtual server with its scheduler. Persistence does not work with a mark, where the kernel sends persistent
// connections to the port that the client asked for: there, the client's address is hashed.
func (sh shaper) server(s *state.Service, id vs.ID, dests []netip.AddrPort) server {
	v := server{Server: vs.Server{ID: id, Flags: vs.Label, Scheduler: s.Scheduler}, drains: s.Protocol != unix.IPPROTO_UDP, dests: dests}
	if v.Scheduler == "" || !sh.usable(v.Scheduler) {
		v.Scheduler = sh.scheduler
	}
	if s.Affinity > 0 && id.Mark == 0 {
		v.Flags, v.Timeout = v.Flags|vs.Persistent, uint32(s.Affinity.Seconds())
	} else if s.Affinity > 0 {
		v.Scheduler = hashScheduler
		if !sh.usable(v.Scheduler) {
			v.Scheduler = "sh"
		}
	}
	if v.Scheduler == "sh" || v.Scheduler == hashScheduler {
		v.Flags |= vs.HashFallback // or clients of a draining endpoint would be refused
	}
	return v
}

// destinations are the addresses of endpoints, which virtual servers share and nobody changes.
func destinations(endpoints []state.Endpoint) []netip.AddrPort {
	all := make([]netip.AddrPort, len(endpoints))
	for i, e := range endpoints {
		all[i] = e.AddrPort
	}
	return all
}

// hashScheduler is Maglev: of all that hash the client's address it moves the fewest clients when endpoints change.
const hashScheduler = "mh"
