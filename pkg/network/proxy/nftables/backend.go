package nftables

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"kedge/pkg/network/nft/wire"
	"kedge/pkg/network/proxy/state"
)

// Options are what a Backend has to be told.
type Options struct {
	Log *slog.Logger // required
}

// Backend programs nftables in the network namespace in which it was made.
type Backend struct {
	log    *slog.Logger
	conn   *wire.Conn
	routes router
	tables []table
	node   state.Node // of the last Sync
	model
}

// model is what the kernel has, as far as the last Sync and the Updates since then succeeded.
type model struct {
	services   map[state.Key]*entry
	locals     map[netip.Addr]int  // endpoints on this node, with the number of services that have them
	externals  map[netip.Addr]int  // external addresses that are not the node's, with the number of fronts
	classes    map[familyClass]int // with the number of fronts
	affinities map[affinity]int    // with the number of fronts
	here       map[netip.Addr]bool // addresses of the node at the last Sync
}

type familyClass struct {
	v6 bool
	class
}

var _ state.Backend = (*Backend)(nil)

// New opens the sockets of a backend in the network namespace of the calling thread. The kernel is changed by Sync only.
func New(o Options) (state.Backend, error) {
	b, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("nftables backend of the service proxy: %w", err)
	}
	return b, nil
}

func open(o Options) (*Backend, error) {
	conn, err := wire.Open(tableName())
	if err != nil {
		return nil, err
	}
	routes, err := openRouter()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Backend{log: o.Log, conn: conn, routes: routes, tables: tables(), model: newModel(0, nil)}, nil
}

func newModel(size int, here map[netip.Addr]bool) model {
	return model{
		services: make(map[state.Key]*entry, size), locals: map[netip.Addr]int{}, externals: map[netip.Addr]int{},
		classes: map[familyClass]int{}, affinities: map[affinity]int{}, here: here,
	}
}

// Close releases the sockets.
func (b *Backend) Close() error {
	b.routes.close()
	return b.conn.Close()
}

// Clean removes everything of this backend from the network namespace of the calling thread. It is no error that there is nothing.
func Clean() error {
	conn, err := wire.Open(tableName())
	if err != nil {
		return fmt.Errorf("clean nftables services: %w", err)
	}
	defer func() { _ = conn.Close() }()
	have, err := read(conn)
	if err != nil {
		return fmt.Errorf("clean nftables services: %w", err)
	}
	batch := wire.NewBatch(tableName())
	have.queueRemoval(batch, func(string) bool { return true })
	if err := conn.Commit(batch); err != nil {
		return fmt.Errorf("remove nftables chains and sets %s*: %w", prefix, err)
	}
	routes, err := openRouter()
	if err != nil {
		return fmt.Errorf("clean routes of services: %w", err)
	}
	defer routes.close()
	_, err = routes.sync(nil)
	return err
}

// content is what of the table is the proxy's.
type content struct {
	sets   map[string]string // name → signature
	chains map[string]wire.Chain
	rules  map[string][]string // chain → comments
}

func read(conn *wire.Conn) (content, error) {
	have := content{sets: map[string]string{}, chains: map[string]wire.Chain{}, rules: map[string][]string{}}
	sets, err := conn.Sets()
	if err != nil {
		return have, err
	}
	for _, s := range sets {
		if mine(s.Name) {
			have.sets[s.Name] = s.Signature
		}
	}
	chains, err := conn.Chains()
	if err != nil {
		return have, err
	}
	for _, c := range chains {
		if mine(c.Name) {
			have.chains[c.Name] = c
		}
	}
	if len(have.chains) == 0 {
		return have, nil
	}
	rules, err := conn.Rules()
	for _, r := range rules {
		if mine(r.Chain) {
			have.rules[r.Chain] = append(have.rules[r.Chain], r.Comment)
		}
	}
	return have, err
}

// queueRemoval deletes the chains and sets that match. Rules and sets go first, because they refer to chains.
func (c content) queueRemoval(batch *wire.Batch, match func(name string) bool) {
	for name := range c.chains {
		if match(name) {
			batch.FlushChain(name)
		}
	}
	for name := range c.sets {
		if match(name) {
			batch.DeleteSet(name)
		}
	}
	for name := range c.chains {
		if match(name) {
			batch.DeleteChain(name)
		}
	}
}
