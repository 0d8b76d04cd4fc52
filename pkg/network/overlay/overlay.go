package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
)

const (
	// calm is the shortest time between two looks at the kernel, should somebody else insist on changing what the overlay repairs.
	calm = 200 * time.Millisecond
	// After an error it is tried again, later each time.
	firstRetry, lastRetry = 100 * time.Millisecond, 30 * time.Second
)

// Config says what the overlay connects. It is not changed after New.
type Config struct {
	Backend  Backend      // required
	NodeName string       // required: this node's
	NodeIPs  []netip.Addr // required: this node's addresses, the first of each family counts
}

// Overlay is the part of this node in the network between nodes. It is a lifecycle component that runs once.
type Overlay struct {
	cfg    Config
	log    *slog.Logger
	kernel *kernel
	events *notifications
	fw     *firewall

	changed chan struct{} // holds a value when nodes changed

	mu       sync.Mutex // guards the rest
	nodes    map[string]Node
	complete bool

	// Only Run uses what follows.
	have     mirror
	known    bool // have is what the kernel holds
	problems []string
	retry    time.Duration
}

// New checks the configuration and opens netlink in the network namespace of the calling thread; it changes nothing.
func New(cfg Config, log *slog.Logger) (*Overlay, error) {
	if cfg.Backend != VXLAN && cfg.Backend != HostGW && cfg.Backend != None {
		return nil, fmt.Errorf("overlay backend %q is not known: set --overlay-backend to %s, %s or %s", cfg.Backend, VXLAN, HostGW, None)
	}
	if cfg.NodeName == "" || len(cfg.NodeIPs) == 0 {
		return nil, errors.New("overlay: the node's name and address are needed: set --node-name and --node-ip")
	}
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	events, err := openNotifications()
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open nftables for the overlay: %w", err), k.close(), events.file.Close())
	}
	return &Overlay{
		cfg: cfg, log: log, kernel: k, events: events, fw: &firewall{conn: conn, log: log, own: cfg.NodeIPs},
		changed: make(chan struct{}, 1), nodes: map[string]Node{}, have: mirror{State: newState(0), own: cfg.NodeIPs},
	}, nil
}

// Name implements lifecycle.Component.
func (o *Overlay) Name() string { return "overlay" }

// SetNode makes a node known, or what changed of it. It may be called at any time, also before Run.
func (o *Overlay) SetNode(n Node) {
	o.update(func() bool {
		if old, ok := o.nodes[n.Name]; ok && old.equal(n) {
			return false
		}
		o.nodes[n.Name] = n
		return o.complete
	})
}

// RemoveNode says that a node is gone.
func (o *Overlay) RemoveNode(name string) {
	o.update(func() bool {
		_, ok := o.nodes[name]
		delete(o.nodes, name)
		return ok && o.complete
	})
}

// Complete says that all nodes there are have been made known. Until then nothing is changed, so that no peer is given up
// because it was not heard of yet.
func (o *Overlay) Complete() {
	o.update(func() bool {
		o.complete = true
		return true
	})
}

func (o *Overlay) update(change func() bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !change() {
		return
	}
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// Run keeps the kernel as it should be until ctx ends. It is ready when the nodes that are known are reached. When it ends the
// network between nodes stays.
func (o *Overlay) Run(ctx context.Context, ready func()) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	events, failed := make(chan batch), make(chan error, 1)
	go func() { failed <- o.events.deliver(ctx, events) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-failed, o.fw.conn.CloseLasting(), o.kernel.close())
	}()
	if o.cfg.Backend == None {
		o.Complete()
	}
	again := time.NewTimer(0) // when to look at the kernel again
	last := time.Time{}
	for isReady := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			failed <- nil
			return err
		case <-again.C:
			o.known = false
		case <-o.changed:
		case b := <-events:
			if o.known && (b.lost || slices.ContainsFunc(b.messages, o.have.foreign)) {
				o.known = false
				again.Reset(time.Until(last.Add(calm)))
			}
			continue
		}
		if !o.known {
			last = time.Now()
		}
		done, err := o.converge()
		if o.delay(err) > 0 {
			again.Reset(o.retry)
		}
		if done && !isReady {
			isReady = true
			ready()
		}
	}
}

// delay says after which time to try again what failed; 0 when it did not.
func (o *Overlay) delay(err error) time.Duration {
	if err == nil {
		o.retry = 0
		return 0
	}
	o.retry = min(max(2*o.retry, firstRetry), lastRetry)
	o.log.Warn("overlay is not as it should be: trying again", "after", o.retry, "error", err)
	return o.retry
}

// converge makes the kernel as it should be. done is false as long as the nodes are not known.
func (o *Overlay) converge() (done bool, err error) {
	begin := time.Now()
	in, ok := o.input()
	if !ok {
		return false, nil
	}
	incremental := o.known
	if !o.known {
		if err := o.look(); err != nil {
			return false, err
		}
	}
	in.Underlay = o.have.underlay
	want, problems, ok := Plan(in)
	if !ok {
		return true, nil // ready: whatever else the node needs gives it its pod CIDR
	}
	if !slices.Equal(problems, o.problems) {
		for _, p := range problems {
			o.log.Warn("node is left out of the overlay", "problem", p)
		}
		o.problems = problems
	}
	o.known = false // until all went well
	changed, err := o.apply(want)
	if err != nil {
		return false, err
	}
	o.known = true
	if changed > 0 {
		o.log.Info("overlay is set up", "backend", o.cfg.Backend, "peers", len(in.Nodes)-1, "changes", changed, "incremental", incremental,
			"took", time.Since(begin).Round(10*time.Microsecond))
	}
	return true, nil
}

// input is what the plan depends on, this node's addresses aside; ok is false until the nodes are known.
func (o *Overlay) input() (in Input, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	in = Input{Backend: o.cfg.Backend, Self: o.cfg.NodeName, Nodes: slices.Collect(maps.Values(o.nodes)), NoIPv6: !o.kernel.ipv6}
	return in, o.complete
}

// look reads what the kernel holds. An address of this node that is away for a moment keeps the subnet that it was on.
func (o *Overlay) look() error {
	var state State
	var found []Underlay
	err := undisturbed(func() (err error) {
		if state, err = o.kernel.read(); err == nil {
			found, err = o.kernel.underlay(o.cfg.NodeIPs)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, old := range o.have.underlay {
		if !slices.ContainsFunc(found, func(u Underlay) bool { return u.Address == old.Address }) {
			found = append(found, old)
		}
	}
	o.have.State, o.have.underlay = state, found
	return nil
}

// apply opens the firewall for new peers first and closes it for former ones last.
func (o *Overlay) apply(want State) (int, error) {
	tunnels := len(want.Links) > 0
	if tunnels {
		if err := o.fw.apply(want.Peers, true); err != nil {
			return 0, err
		}
	}
	changed, err := o.kernel.apply(want, o.have.State)
	if tunnels {
		err = errors.Join(err, o.fw.apply(want.Peers, false))
	} else {
		err = errors.Join(err, o.fw.withdraw())
	}
	o.have.State, o.have.index = want, o.kernel.index
	return changed, err
}
