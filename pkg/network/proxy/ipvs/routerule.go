package ipvs

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeRules lead to kedge's table: marked packets before other tables, the node's own when no other table knows the way.
func routingRules(family int) []*netlink.Rule {
	mask := markRoute
	marked, own := netlink.NewRule(), netlink.NewRule()
	marked.Family, marked.Table, marked.Priority, marked.Mark, marked.Mask = family, routeTable, rulePriority, markRoute, &mask
	own.Family, own.Table, own.Priority, own.IifName = family, routeTable, lastPriority, loopback
	return []*netlink.Rule{marked, own}
}

// ensureRules adds the rules for the families that need them and removes them for the others: a rule costs every packet a little.
func (r *router) ensureRules(need map[bool]bool) (int, []error) {
	var n int
	var errs []error
	for _, v6 := range families() {
		family := unix.AF_INET
		if v6 {
			family = unix.AF_INET6
		}
		have, err := r.handle.RuleList(family)
		if err != nil {
			if need[v6] {
				errs = append(errs, fmt.Errorf("list routing rules: %w", err))
			}
			continue // a kernel without this family
		}
		for _, w := range routingRules(family) {
			found := hasRule(have, w)
			switch {
			case need[v6] && !found:
				n, errs = n+1, append(errs, addRule(r.handle, w))
			case !need[v6] && found:
				n, errs = n+1, append(errs, deleteRule(r.handle, w))
			}
		}
	}
	return n, errs
}

// hasRule looks for the rule by table and priority, which are kedge's.
func hasRule(all []netlink.Rule, want *netlink.Rule) bool {
	for _, r := range all {
		if r.Table == want.Table && r.Priority == want.Priority && r.Mark == want.Mark && r.IifName == want.IifName {
			return true
		}
	}
	return false
}

func addRule(h *netlink.Handle, r *netlink.Rule) error {
	if err := h.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add routing rule with priority %d: %w", r.Priority, err)
	}
	return nil
}

func deleteRule(h *netlink.Handle, r *netlink.Rule) error {
	if err := h.RuleDel(r); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete routing rule with priority %d: %w", r.Priority, err)
	}
	return nil
}
