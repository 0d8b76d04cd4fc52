package ipvs

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"kedge/pkg/network/proxy/ipvs/vs"
	"kedge/pkg/network/proxy/state"
)

// Options are what the backend has to know beside the services.
type Options struct {
	Log       *slog.Logger // required
	Scheduler string       // optional: IPVS scheduler of services that ask for none; rr
}

const (
	defaultScheduler = "rr" // takes endpoints in turn
	noScheduler      = "none"
)

// Backend is the state.Backend.
type Backend struct {
	opts     Options
	conn     *vs.Conn
	table    *vs.Table
	rules    *ruleset
	routes   *router
	settings []setting
	timeout  time.Duration
	timeouts timeouts

	mu         sync.Mutex // of all below, and of the sockets: draining goes on beside calls
	node       state.Node
	want       *desired
	marks      *marks
	schedulers map[string]bool     // which ones the kernel has
	here       map[netip.Addr]bool // addresses of the node's links
	drain      drain
	closed     bool
}

var _ state.Backend = (*Backend)(nil)

// New opens the backend in the network namespace of the calling thread. It changes nothing before the first Sync but the parameters of IPVS.
func New(opts Options) (*Backend, error) {
	if opts.Scheduler == "" {
		opts.Scheduler = defaultScheduler
	}
	b := &Backend{
		opts: opts, timeout: tcpTimeout(), timeouts: serviceTimeouts(), want: newDesired(0), marks: newMarks(),
		schedulers: map[string]bool{}, drain: newDrain(),
	}
	err := b.open()
	if err == nil && !b.hasScheduler(opts.Scheduler) {
		err = fmt.Errorf("use IPVS scheduler %s: the kernel does not have it; choose another --proxy-scheduler", opts.Scheduler)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Backend) open() (err error) {
	if b.conn, err = vs.Dial(); err != nil {
		return err
	}
	if b.table, err = vs.OpenTable(); err != nil {
		return err
	}
	if b.rules, err = openRuleset(); err != nil {
		return err
	}
	if b.routes, err = openRouter(); err != nil {
		return err
	}
	b.settings, err = openSettings()
	return err
}

// Close ends draining and releases sockets. The kernel stays as it is.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	b.drain.stop()
	closeSettings(b.settings)
	var errs []error
	if b.routes != nil {
		b.routes.close()
	}
	if b.rules != nil {
		errs = append(errs, b.rules.close())
	}
	if b.table != nil {
		errs = append(errs, b.table.Close())
	}
	if b.conn != nil {
		errs = append(errs, b.conn.Close())
	}
	return errors.Join(errs...)
}

// shaper makes wishes for the node as it is now.
func (b *Backend) shaper() shaper {
	return shaper{node: b.node, here: b.here, scheduler: b.opts.Scheduler, usable: b.hasScheduler, mark: b.marks.id}
}

// probeMark is the firewall mark of a virtual server that is made for a moment, to see whether the kernel has a scheduler. No
// service has it: its lower bits say neither that it comes from a rule of kedge nor that it has a number.
const probeMark = 0x64

// hasScheduler tries the scheduler once; the kernel loads a module for it, or it is loaded here.
func (b *Backend) hasScheduler(name string) bool {
	has, known := b.schedulers[name]
	if known {
		return has
	}
	var err error
	if name == noScheduler {
		err = errors.New("to the kernel the name means to take no connections")
	} else {
		err = b.tryScheduler(name)
	}
	if err != nil && name != noScheduler && loadScheduler(name) == nil {
		err = b.tryScheduler(name)
	}
	if err != nil {
		b.opts.Log.Warn("kernel does not have the IPVS scheduler: using the default one", "scheduler", name, "default", b.opts.Scheduler, "error", err)
	}
	b.schedulers[name] = err == nil
	return err == nil
}

func (b *Backend) tryScheduler(name string) error {
	id := vs.ID{Mark: probeMark}
	failed := b.conn.Do([]vs.Request{vs.Delete(id), vs.Add(vs.Server{ID: id, Scheduler: name, Flags: vs.Label}), vs.Delete(id)})
	for _, f := range failed {
		if f.IsAdd() {
			return f
		}
	}
	return nil
}
