package ipvs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"kedge/pkg/network/nft"
	"kedge/pkg/network/nft/wire"
)

// netlinkBuffer is what a transaction may hold, in bytes: all elements of tens of thousands of services.
const netlinkBuffer = 64 << 20

// ruleset is kedge's part of nftables.
type ruleset struct {
	conn *nftables.Conn
	wire *wire.Conn // for rules, which the other cannot all write and read
}

func openRuleset() (*ruleset, error) {
	grow := func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(netlinkBuffer), c.SetWriteBuffer(netlinkBuffer))
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(grow))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	r := &ruleset{conn: conn}
	if r.wire, err = wire.Open(nft.Table().Name); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// ensure makes sets and chains as they have to be, and returns how many were not. Elements stay.
func (r *ruleset) ensure(want []nft.Chain) (int, error) {
	r.conn.AddTable(nft.Table())
	if err := r.conn.Flush(); err != nil {
		return 0, fmt.Errorf("create nftables table %s: %w", nft.Table().Name, err)
	}
	different, err := r.different(want)
	if err != nil || len(different) == 0 {
		return 0, err
	}
	if err = r.write(different); err != nil { // a set or chain of another kind has the name
		if err := r.remove(); err != nil {
			return 0, err
		}
		err = r.write(want)
	}
	if err != nil {
		return 0, fmt.Errorf("write nftables chains %s*: %w", prefix, err)
	}
	return len(different), nil
}

// different are the chains that the kernel does not hold as wanted, or all when a set is missing.
func (r *ruleset) different(want []nft.Chain) ([]nft.Chain, error) {
	sets, chains, err := r.own()
	if err != nil || len(sets) != len(allSets()) {
		return want, err
	}
	found, err := r.wire.Rules()
	if err != nil {
		return want, err
	}
	comments := map[string][]string{}
	for _, rule := range found {
		comments[rule.Chain] = append(comments[rule.Chain], rule.Comment)
	}
	var different []nft.Chain
	for _, c := range want {
		fingerprints, err := fingerprints(c)
		if err != nil {
			return nil, err
		}
		if !chains[c.Name] || !slices.Equal(comments[c.Name], fingerprints) {
			different = append(different, c)
		}
	}
	return different, nil
}

// fingerprints are what rules carry to be known again: they cannot be compared as the kernel gives them back.
func fingerprints(c nft.Chain) ([]string, error) {
	var all []string
	for _, rule := range c.Rules {
		f, err := wire.Fingerprint(rule)
		if err != nil {
			return nil, fmt.Errorf("rule %d of nftables chain %s: %w", len(all), c.Name, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// own lists what is there of kedge's part.
func (r *ruleset) own() (sets, chains map[string]bool, err error) {
	sets, chains = map[string]bool{}, map[string]bool{}
	foundSets, err := r.conn.GetSets(nft.Table())
	if err != nil {
		return nil, nil, fmt.Errorf("list nftables sets: %w", err)
	}
	foundChains, err := r.conn.ListChainsOfTableFamily(nft.Table().Family)
	if err != nil {
		return nil, nil, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, s := range foundSets {
		if strings.HasPrefix(s.Name, prefix) {
			sets[s.Name] = true
		}
	}
	for _, c := range foundChains {
		if c.Table.Name == nft.Table().Name && strings.HasPrefix(c.Name, prefix) {
			chains[c.Name] = true
		}
	}
	return sets, chains, nil
}

func allSets() []*nftables.Set {
	var all []*nftables.Set
	for _, s := range sets() {
		for _, v6 := range families() {
			all = append(all, s.definition(v6))
		}
	}
	return all
}

// write adds all sets, then replaces the rules of chains in one transaction.
func (r *ruleset) write(chains []nft.Chain) error {
	for i, s := range allSets() {
		s.ID = uint32(i + 1)
		if err := r.conn.AddSet(s, nil); err != nil {
			return fmt.Errorf("define set %s: %w", s.Name, err)
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("add sets: %w", err)
	}
	batch := wire.NewBatch(nft.Table().Name)
	for _, c := range chains {
		batch.AddChain(wireChain(c))
		batch.FlushChain(c.Name)
	}
	for _, c := range chains {
		for _, rule := range c.Rules {
			batch.AddRule(c.Name, rule)
		}
	}
	return r.wire.Commit(batch)
}

func wireChain(c nft.Chain) wire.Chain {
	w := wire.Chain{Name: c.Name, Type: string(c.Type)}
	if c.Hooknum != nil {
		w.Hook, w.Priority = uint32(*c.Hooknum), int32(*c.Priority)
	}
	return w
}

// remove takes kedge's part away. Nothing there is no error.
func (r *ruleset) remove() error {
	tables, err := r.conn.ListTablesOfFamily(nft.Table().Family)
	if err != nil {
		return fmt.Errorf("list nftables tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == nft.Table().Name }) {
		return nil
	}
	sets, chains, err := r.own()
	if err != nil {
		return err
	}
	for name := range chains {
		r.conn.FlushChain(nft.Regular(name))
	}
	for name := range sets {
		r.conn.DelSet(&nftables.Set{Table: nft.Table(), Name: name})
	}
	for name := range chains {
		r.conn.DelChain(nft.Regular(name))
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("remove nftables chains and sets %s*: %w", prefix, err)
	}
	return nil
}

func (r *ruleset) close() error {
	var errs []error
	if err := r.conn.CloseLasting(); err != nil {
		errs = append(errs, fmt.Errorf("close nftables: %w", err))
	}
	if r.wire != nil {
		errs = append(errs, r.wire.Close())
	}
	return errors.Join(errs...)
}
