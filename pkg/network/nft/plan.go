package nft

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
)

// batchElements keeps one message with set elements below the 64 KiB of a netlink attribute.
const batchElements = 256

// Plan is everything that one component wants in the table.
type Plan struct {
	Prefix string // required: what the names of all chains and sets of the component begin with
	Sets   []Set
	Chains []Chain
}

// Set is a set or map with its elements.
type Set struct {
	*nftables.Set
	Elements []nftables.SetElement
}

// Chain is a chain with its rules. A chain that others jump to stands before them.
type Chain struct {
	*nftables.Chain
	Rules []Rule
}

// Table is the table of kedge.
func Table() *nftables.Table { return &nftables.Table{Family: nftables.TableFamilyINet, Name: "kedge"} }

// Base is a chain that the kernel calls at a hook; what no rule ends is accepted.
func Base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return &nftables.Chain{Table: Table(), Name: name, Type: kind, Hooknum: hook, Priority: priority}
}

// Regular is a chain that other chains jump to.
func Regular(name string) *nftables.Chain { return &nftables.Chain{Table: Table(), Name: name} }

// Apply makes the component's part of the table equal to the plan, in one transaction: packets see the old or the new rules.
func (p Plan) Apply(conn *nftables.Conn) error {
	conn.AddTable(Table())
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("create nftables table %s: %w", Table().Name, err)
	}
	if err := p.queueRemoval(conn); err != nil {
		return err
	}
	if err := p.queueContent(conn); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("replace nftables chains and sets %s* of table %s: %w", p.Prefix, Table().Name, err)
	}
	return nil
}

func (p Plan) queueRemoval(conn *nftables.Conn) error {
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("list nftables chains: %w", err)
	}
	sets, err := conn.GetSets(Table())
	if err != nil {
		return fmt.Errorf("list nftables sets of table %s: %w", Table().Name, err)
	}
	chains = p.own(chains)
	for _, c := range chains {
		conn.FlushChain(c)
	}
	for _, c := range chains {
		conn.DelChain(c)
	}
	for _, s := range sets {
		if strings.HasPrefix(s.Name, p.Prefix) {
			conn.DelSet(s)
		}
	}
	return nil
}

func (p Plan) own(chains []*nftables.Chain) []*nftables.Chain {
	var own []*nftables.Chain
	for _, c := range chains {
		if c.Table.Name == Table().Name && strings.HasPrefix(c.Name, p.Prefix) {
			own = append(own, c)
		}
	}
	return own
}

func (p Plan) queueContent(conn *nftables.Conn) error {
	for i, s := range p.Sets {
		s.ID = uint32(i + 1) // unique in the transaction is enough
		if err := conn.AddSet(s.Set, nil); err != nil {
			return fmt.Errorf("define nftables set %s: %w", s.Name, err)
		}
		if err := Chunks(s.Elements, s.Set, conn.SetAddElements); err != nil {
			return fmt.Errorf("fill nftables set %s: %w", s.Name, err)
		}
	}
	for _, c := range p.Chains {
		conn.AddChain(c.Chain)
		for _, r := range c.Rules {
			conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c.Chain, Exprs: r})
		}
	}
	return nil
}

// Chunks queues elements for a set with as few messages as hold them.
func Chunks(elements []nftables.SetElement, set *nftables.Set, queue func(*nftables.Set, []nftables.SetElement) error) error {
	for part := range slices.Chunk(elements, batchElements) {
		if err := queue(set, part); err != nil {
			return fmt.Errorf("encode %d elements: %w", len(part), err)
		}
	}
	return nil
}

// DeleteTable removes the table of kedge with all that is in it. A table that does not exist is no error.
func DeleteTable(conn *nftables.Conn) error {
	conn.DelTable(Table())
	if err := conn.Flush(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete nftables table %s: %w", Table().Name, err)
	}
	return nil
}
