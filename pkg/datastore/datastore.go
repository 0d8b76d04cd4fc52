package datastore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kedge/embedded/etcd"
	"kedge/pkg/lifecycle"
)

// readdressTimeout bounds the attempt to tell the other servers of a new address.
const readdressTimeout = 10 * time.Second

// Options of a server's datastore. Join is optional, all else is required.
type Options struct {
	Etcd etcd.Config // without Cluster
	Door string      // host:port on which other servers reach the member, see the package's documentation
	Join *Join       // set until the server has become a member
	Log  *slog.Logger
}

// Join says how to become a member of a cluster that exists.
type Join struct {
	Servers     []string     // doors of its servers, host:port
	Credentials etcd.TLS     // a client's certificate of the etcd authority
	Done        func() error // called when the server is a member with a vote
}

// Datastore is a server's member of etcd, and the door to it.
type Datastore struct {
	options Options
	many    signal
	open    signal

	mu     sync.Mutex
	member *etcd.Member // nil before it is known with whom to start
}

// signal is a channel that is closed once.
type signal struct {
	once sync.Once
	c    chan struct{}
}

func (s *signal) fire() { s.once.Do(func() { close(s.c) }) }

// New returns the datastore that o describes.
func New(o Options) *Datastore {
	return &Datastore{options: o, many: signal{c: make(chan struct{})}, open: signal{c: make(chan struct{})}}
}

// Component runs the datastore. It is ready when requests are answered, and ends after its door, through which the
// other members are heard, is still open.
func (d *Datastore) Component() lifecycle.Component {
	door := &door{
		address: d.options.Door, peers: d.options.Etcd.Peer, socket: d.options.Etcd.Socket, open: d.open.c, log: d.options.Log.With("component", "etcd"),
	}
	return lifecycle.Sequence("datastore", door, lifecycle.Func("etcd", d.run))
}

// Many is closed once there are, or may be, several servers: each has to reckon with the others from then on.
func (d *Datastore) Many() <-chan struct{} { return d.many.c }

// Allow says that further servers may join.
func (d *Datastore) Allow() { d.many.fire() }

// Open opens the door. It is called when this server reckons with others.
func (d *Datastore) Open() { d.open.fire() }

// Problem says what is wrong with the datastore, empty when nothing is.
func (d *Datastore) Problem() string {
	if m := d.current(); m != nil {
		return m.Problem()
	}
	return ""
}

// Peers returns the members as this server's knows them.
func (d *Datastore) Peers() []etcd.Peer {
	if m := d.current(); m != nil {
		return m.Peers()
	}
	return nil
}

func (d *Datastore) current() *etcd.Member {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.member
}

func (d *Datastore) run(ctx context.Context, ready func()) error {
	c, err := d.configure(ctx)
	if err != nil {
		return err
	}
	member := etcd.New(c)
	d.mu.Lock()
	d.member = member
	d.mu.Unlock()
	joined, stop := context.WithCancel(ctx)
	var helper sync.WaitGroup
	defer helper.Wait()
	defer stop()
	helper.Go(func() { d.countMembers(joined, member) })
	failed := make(chan error, 1)
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	err = member.Run(run, func() {
		helper.Go(func() {
			if err := d.settle(joined, member); err != nil {
				failed <- err
				cancel()
				return
			}
			ready()
		})
	})
	select {
	case first := <-failed:
		if ctx.Err() == nil {
			return errors.Join(first, err)
		}
	default:
	}
	return err
}

// configure adds this server to the cluster when it is not a member yet.
func (d *Datastore) configure(ctx context.Context) (etcd.Config, error) {
	c, join := d.options.Etcd, d.options.Join
	if err := c.RemoveUnborn(); err != nil {
		return c, err
	}
	if join == nil {
		return c, nil
	}
	d.many.fire()
	d.open.fire()
	if found, err := hasData(c.Dir); found || err != nil {
		return c, err
	}
	client, err := Remote(join.Servers, c.Socket, join.Credentials, d.options.Log)
	if err != nil {
		return c, err
	}
	defer client.Close() // nothing is buffered
	c.Cluster, err = client.Add(ctx, c.Name, c.Advertise, d.options.Log)
	return c, err
}

// hasData tells whether a member has been started in dir before.
func hasData(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, "member", "wal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the member's data: %w", err)
	}
	return true, nil
}

// countMembers opens the door of a server that is not alone, as soon as its log has been read: without the others it has no quorum.
func (d *Datastore) countMembers(ctx context.Context, member *etcd.Member) {
	select {
	case <-ctx.Done():
	case <-member.Started():
		if len(member.Peers()) > 1 {
			d.many.fire()
			d.open.fire()
		}
	}
}

// settle makes a full member of one that has just started.
func (d *Datastore) settle(ctx context.Context, member *etcd.Member) error {
	if err := member.Promote(ctx); err != nil {
		return err
	}
	if join := d.options.Join; join != nil {
		if err := join.Done(); err != nil {
			return err
		}
		d.options.Log.Info("this server is a member of the datastore", "component", "etcd", "members", len(member.Peers()))
	}
	readdress, cancel := context.WithTimeout(ctx, readdressTimeout)
	defer cancel()
	if err := member.Readdress(readdress); err != nil {
		d.options.Log.Warn("other servers may not find this one: its address has changed and they could not be told", "component", "etcd", "error", err)
	}
	return nil
}
