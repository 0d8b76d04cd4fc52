package ipvs

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"kedge/pkg/network/proxy/ipvs/vs"
)

const (
	// drainLimit is how long a removed endpoint keeps its connections: as long as an idle connection lives at least, after which
	// one that its endpoint has forgotten has gone by itself.
	drainLimit = leastTimeout
	// The first look at a removed endpoint's connections, and the longest time between two.
	firstLook  = time.Second
	longestGap = 30 * time.Second
)

// drain knows the destinations with weight 0, which get no new connections, and until when they may stay.
type drain struct {
	until map[vs.ID]map[netip.AddrPort]time.Time
	gap   time.Duration
	timer *time.Timer // nil: nobody looks
}

func newDrain() drain { return drain{until: map[vs.ID]map[netip.AddrPort]time.Time{}, gap: firstLook} }

func (d *drain) has(id vs.ID, at netip.AddrPort) bool {
	_, ok := d.until[id][at]
	return ok
}

func (d *drain) add(id vs.ID, at netip.AddrPort) {
	if d.until[id] == nil {
		d.until[id] = map[netip.AddrPort]time.Time{}
	}
	d.until[id][at] = time.Now().Add(drainLimit)
	d.gap = firstLook
}

func (d *drain) forget(id vs.ID, at netip.AddrPort) {
	delete(d.until[id], at)
	if len(d.until[id]) == 0 {
		delete(d.until, id)
	}
}

func (d *drain) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// requests change virtual servers from what they were to what they shall be.
func (d *drain) requests(was map[vs.ID]maybe[server], is map[vs.ID]server) []vs.Request {
	var all []vs.Request
	for id, old := range was {
		now, ok := is[id]
		switch {
		case !ok && old.ok:
			delete(d.until, id)
			all = append(all, vs.Delete(id))
		case ok && !old.ok:
			all = append(all, vs.Add(now.Server))
			all = d.destRequests(all, now, nil)
		case ok:
			if old.value.Server != now.Server {
				all = append(all, vs.Set(now.Server))
			}
			all = d.destRequests(all, now, old.value.dests)
		}
	}
	return all
}

// destRequests adds the requests that change a virtual server's destinations, both lists being sorted.
func (d *drain) destRequests(all []vs.Request, now server, was []netip.AddrPort) []vs.Request {
	for _, at := range now.dests {
		_, had := slices.BinarySearchFunc(was, at, netip.AddrPort.Compare)
		switch {
		case had:
		case d.has(now.ID, at):
			d.forget(now.ID, at)
			all = append(all, vs.SetDest(now.ID, vs.Dest{AddrPort: at, Weight: 1}))
		default:
			all = append(all, vs.AddDest(now.ID, vs.Dest{AddrPort: at, Weight: 1}))
		}
	}
	for _, at := range was {
		if _, has := slices.BinarySearchFunc(now.dests, at, netip.AddrPort.Compare); !has {
			all = append(all, d.retire(now, vs.Dest{AddrPort: at, Weight: 1, Active: 1}))
		}
	}
	return all
}

// retire takes a destination away, at once or when its connections have ended.
func (d *drain) retire(s server, dest vs.Dest) vs.Request {
	if !s.drains || dest.Idle() {
		d.forget(s.ID, dest.AddrPort)
		return vs.DeleteDest(s.ID, dest)
	}
	d.add(s.ID, dest.AddrPort)
	dest.Weight = 0
	return vs.SetDest(s.ID, dest)
}

// watchDrain looks after a while, as long as something drains.
func (b *Backend) watchDrain() {
	d := &b.drain
	if len(d.until) == 0 || b.closed {
		return
	}
	if d.timer == nil {
		d.timer = time.AfterFunc(d.gap, b.look)
	} else {
		d.timer.Reset(d.gap)
	}
}

// look removes what has drained. It lets changes of services pass between two virtual servers.
func (b *Backend) look() {
	b.mu.Lock()
	ids := slices.Collect(maps.Keys(b.drain.until))
	b.mu.Unlock()
	for _, id := range ids {
		b.lookAt(id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drain.gap = min(2*b.drain.gap, longestGap)
	b.watchDrain()
}

func (b *Backend) lookAt(id vs.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	found, err := b.conn.Dests(id)
	if errors.Is(err, unix.ESRCH) {
		delete(b.drain.until, id) // somebody else has deleted the virtual server
		return
	}
	var requests []vs.Request
	for at, until := range b.drain.until[id] {
		i := slices.IndexFunc(found, func(f vs.Dest) bool { return f.AddrPort == at })
		switch {
		case err != nil:
		case i < 0:
			b.drain.forget(id, at)
		case found[i].Idle() || time.Now().After(until):
			b.drain.forget(id, at)
			requests = append(requests, vs.DeleteDest(id, found[i]))
		}
	}
	if err := errors.Join(append(b.do(requests), err)...); err != nil {
		b.opts.Log.Warn("cannot remove endpoints that have drained", "server", id.String(), "error", err)
	}
}

// do makes requests and returns what failed for good.
func (b *Backend) do(requests []vs.Request) []error {
	var again []vs.Request
	var errs []error
	for _, f := range b.conn.Do(requests) {
		gone := errors.Is(f.Err, unix.ENOENT) || errors.Is(f.Err, unix.ESRCH)
		switch instead, ok := f.Instead(); {
		case ok && (errors.Is(f.Err, unix.EEXIST) || errors.Is(f.Err, unix.ENOENT)):
			again = append(again, instead)
		case gone && f.IsDelete():
		default:
			errs = append(errs, f)
		}
	}
	for _, f := range b.conn.Do(again) {
		errs = append(errs, f)
	}
	return shorten(errs)
}

// shorten keeps a message readable when thousands of requests fail for the same reason.
func shorten(errs []error) []error {
	const most = 10
	if len(errs) <= most {
		return errs
	}
	return append(errs[:most:most], fmt.Errorf("and %d more", len(errs)-most))
}
