package ipvs

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/proxy/ipvs/vs"
	"kedge/pkg/network/proxy/state"
)

// Sync implements state.Backend. What the kernel refuses does not keep the rest from it.
func (b *Backend) Sync(node state.Node, all map[state.Key]*state.Service) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	here, err := b.routes.addresses()
	if err != nil {
		return 0, err
	}
	b.node, b.here = node, here
	b.retryWhatFailed()
	count, errs := b.ensureSettings()
	if err := b.rules.addTimeouts(b.timeouts); err != nil {
		b.opts.Log.Warn("cannot forget reset connections at once: a client that uses their ports again may wait a second", "error", err)
		b.timeouts = nil
	}
	regular, based := stages(chains(node, b.timeouts))
	n, err := b.rules.ensure(regular)
	count += n
	if err != nil {
		return count, errors.Join(append(errs, err)...) // without sets and chains nothing has a meaning
	}
	have, err := b.rules.elements()
	if err != nil {
		return count, errors.Join(append(errs, err)...)
	}
	b.wishForAll(all, have)
	n, failed := b.syncContent(have)
	count, errs = count+n, append(errs, failed...)
	n, err = b.rules.ensure(based)
	count, errs = count+n, append(errs, err, b.rules.removeTimeouts(b.timeouts.name()))
	n, failed = b.routes.ensure(wantedRoutes(node, b.want.routed), sourcesOf(node, b.here))
	b.watchDrain()
	return count + n, errors.Join(append(errs, failed...)...)
}

// retryWhatFailed forgets which schedulers the kernel did not have: somebody may have loaded them.
func (b *Backend) retryWhatFailed() {
	maps.DeleteFunc(b.schedulers, func(_ string, has bool) bool { return !has })
}

func (b *Backend) ensureSettings() (count int, errs []error) {
	for _, s := range b.settings {
		changed, err := s.ensure()
		if changed {
			count++
		}
		errs = append(errs, err)
	}
	timeout, err := b.conn.Timeout()
	if err == nil && timeout != b.timeout {
		count++
		err = b.conn.SetTimeouts(b.timeout)
	}
	return count, append(errs, err)
}

// stages are the chains that others lead to, and those that the kernel calls.
func stages(all []nft.Chain) (regular, based []nft.Chain) {
	for _, c := range all {
		if c.Hooknum == nil {
			regular = append(regular, c)
		} else {
			based = append(based, c)
		}
	}
	return regular, based
}

// wishForAll computes the sum of all wishes anew.
func (b *Backend) wishForAll(all map[state.Key]*state.Service, have map[element]bool) {
	for key := range b.marks.ids {
		if all[key] == nil {
			b.marks.release(key)
		}
	}
	b.marks.found = marksIn(have)
	b.want = newDesired(len(all))
	b.addAll(all)
	b.want.takeFormer()
}

// syncContent makes elements and virtual servers equal to the wishes, in the order that keeps packets from going astray.
func (b *Backend) syncContent(have map[element]bool) (int, []error) {
	requests, errs := b.compareServers()
	first, second, early, add := split(have, b.want.elements())
	errs = append(errs, b.rules.change(first, early))
	errs = append(errs, b.do(requests)...)
	if err := b.rules.change(second, add); err != nil {
		errs = append(errs, b.rules.change(second, nil))
		errs = append(errs, shorten(b.rules.salvage(add))...)
	}
	return len(requests) + len(first) + len(second) + len(early) + len(add), errs
}

// compareServers reads the kernel's virtual servers and says what to change.
func (b *Backend) compareServers() ([]vs.Request, []error) {
	servers, err := b.conn.Servers()
	if err != nil {
		return nil, []error{err}
	}
	dests, err := b.table.Dests()
	if err != nil {
		return nil, []error{err}
	}
	var requests []vs.Request
	var errs []error
	former := b.drain.until
	b.drain.until = map[vs.ID]map[netip.AddrPort]time.Time{}
	found := map[vs.ID]bool{}
	for _, s := range servers {
		found[s.ID] = true
		want, wanted := b.want.servers[s.ID]
		switch {
		case !wanted && s.Ours():
			requests = append(requests, vs.Delete(s.ID))
		case !wanted:
		case !s.Ours() && !b.inServiceCIDR(s.ID):
			errs = append(errs, fmt.Errorf("virtual server %s belongs to another program: it is left alone, and the service is not reachable there; delete it to let kedge have it", s.ID))
		default:
			list, err := b.destsOf(s.ID, dests)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			requests = append(requests, b.compareServer(want, s, list, former[s.ID])...)
		}
	}
	missing := 0
	for id, want := range b.want.servers {
		if !found[id] {
			missing += 1 + len(want.dests)
		}
	}
	requests = slices.Grow(requests, missing)
	for id, want := range b.want.servers {
		if !found[id] {
			requests = b.drain.destRequests(append(requests, vs.Add(want.Server)), want, nil)
		}
	}
	return requests, shorten(errs)
}

// destsOf looks into the table, and asks for what is not in it: where several network namespaces have virtual servers, the kernel
// (6.1) leaves some out of its text.
func (b *Backend) destsOf(id vs.ID, table map[vs.ID][]vs.Dest) ([]vs.Dest, error) {
	if list, ok := table[tableID(id)]; ok {
		return list, nil
	}
	return b.conn.Dests(id)
}

// tableID is how the kernel's text names a virtual server.
func tableID(id vs.ID) vs.ID {
	if id.Mark != 0 {
		id.V6 = false
	}
	return id
}

// compareServer says what to change of a virtual server that is there.
func (b *Backend) compareServer(want server, is vs.Server, dests []vs.Dest, draining map[netip.AddrPort]time.Time) []vs.Request {
	var requests []vs.Request
	if want.Server != is {
		requests = append(requests, vs.Set(want.Server))
	}
	there := map[netip.AddrPort]bool{}
	for _, d := range dests {
		there[d.AddrPort] = true
		_, wanted := slices.BinarySearchFunc(want.dests, d.AddrPort, netip.AddrPort.Compare)
		until, known := draining[d.AddrPort]
		switch {
		case wanted && d.Weight == 1:
		case wanted:
			requests = append(requests, vs.SetDest(want.ID, vs.Dest{AddrPort: d.AddrPort, Weight: 1}))
		case d.Weight == 0 && known:
			b.drain.add(want.ID, d.AddrPort)
			b.drain.until[want.ID][d.AddrPort] = until
		case d.Weight == 0 && want.drains:
			b.drain.add(want.ID, d.AddrPort) // since before the start
		default:
			requests = append(requests, b.drain.retire(want, d))
		}
	}
	for _, at := range want.dests {
		if !there[at] {
			requests = append(requests, vs.AddDest(want.ID, vs.Dest{AddrPort: at, Weight: 1}))
		}
	}
	return requests
}

func (b *Backend) inServiceCIDR(id vs.ID) bool {
	return id.Mark == 0 && slices.ContainsFunc(b.node.ServiceCIDRs, func(p netip.Prefix) bool { return p.Contains(id.Addr()) })
}

// compareStrings compares pairs of strings until they differ.
func compareStrings(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
