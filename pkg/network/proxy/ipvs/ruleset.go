package ipvs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"

	"kedge/pkg/network/nft"
)

// netlinkBuffer is what a transaction may hold, in bytes: all elements of tens of thousands of services.
const netlinkBuffer = 64 << 20

// ruleset is kedge's part of nftables.
type ruleset struct{ conn *nftables.Conn }

func openRuleset() (*ruleset, error) {
	grow := func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(netlinkBuffer), c.SetWriteBuffer(netlinkBuffer))
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(grow))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &ruleset{conn}, nil
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
	var different []nft.Chain
	for _, c := range want {
		var found []*nftables.Rule
		if chains[c.Name] {
			if found, err = r.conn.GetRules(c.Table, c.Chain); err != nil {
				return nil, fmt.Errorf("list rules of nftables chain %s: %w", c.Name, err)
			}
		}
		if !chains[c.Name] || !sameRules(c, found) {
			different = append(different, c)
		}
	}
	return different, nil
}

func sameRules(c nft.Chain, found []*nftables.Rule) bool {
	if len(found) != len(c.Rules) {
		return false
	}
	for i, rule := range c.Rules {
		if !bytes.Equal(found[i].UserData, comment(rule)) {
			return false
		}
	}
	return true
}

// comment is what a rule carries to be known again: rules cannot be compared as the kernel gives them back.
func comment(rule nft.Rule) []byte {
	h := sha256.New()
	for _, e := range rule {
		b, err := expr.Marshal(byte(nft.Table().Family), e)
		if err != nil {
			continue // the transaction fails with the same error
		}
		h.Write(b)
	}
	return userdata.AppendString(nil, userdata.TypeComment, "kedge "+hex.EncodeToString(h.Sum(nil)[:8]))
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

// write adds all sets and replaces the rules of chains, in one transaction.
func (r *ruleset) write(chains []nft.Chain) error {
	for i, s := range allSets() {
		s.ID = uint32(i + 1)
		if err := r.conn.AddSet(s, nil); err != nil {
			return fmt.Errorf("define set %s: %w", s.Name, err)
		}
	}
	for _, c := range chains {
		r.conn.AddChain(c.Chain)
		r.conn.FlushChain(c.Chain)
	}
	for _, c := range chains {
		for _, rule := range c.Rules {
			r.conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c.Chain, Exprs: rule, UserData: comment(rule)})
		}
	}
	return r.conn.Flush()
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
	if err := r.conn.CloseLasting(); err != nil {
		return fmt.Errorf("close nftables: %w", err)
	}
	return nil
}
