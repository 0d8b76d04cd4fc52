package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Machine is what defaults are detected from.
type Machine interface {
	Hostname() (string, error)
	// Addresses returns the addresses that can be the node's: the best of each IP family, IPv4 first.
	Addresses() ([]netip.Addr, error)
}

// Resolve merges the sources, fills in what nobody said, and checks the whole. The error is an *InvalidError
// with everything that is wrong.
func Resolve(s Sources, m Machine) (*Config, error) {
	r := resolve(s, m)
	if err := invalid(r.problems); err != nil {
		return nil, err
	}
	return &r.Config, nil
}

// resolution is a configuration in the making.
type resolution struct {
	Config

	given    map[string][]item // what was said or is the default, lists split into their elements
	bad      map[string]bool   // options with an error, which no further check looks at
	problems []error
}

func resolve(s Sources, m Machine) *resolution { return resolveWith(s, m, nil) }

// resolveWith resolves with the values that the cluster of a machine that joins has; nil when they are not known yet.
func resolveWith(s Sources, m Machine, cluster []Value) *resolution {
	r := &resolution{given: map[string][]item{}, bad: map[string]bool{}, problems: slices.Clone(s.problems)}
	r.Role = s.Role
	for _, o := range Options(s.Role) {
		r.given[o.Name] = merge(o, slices.Concat(cluster, s.values))
		r.decode(o)
	}
	r.Layout = NewLayout(r.Layout.DataDir)
	r.detect(m)
	r.derive()
	r.checkGeneral()
	r.checkNode()
	if r.Role == RoleAgent {
		r.checkJoin()
		r.checkCluster(cluster)
		return r
	}
	r.checkJoin()
	r.checkAPI()
	if cluster == nil {
		r.checkNetworks()
	}
	r.checkCluster(cluster)
	return r
}

// merge returns the values that hold for an option: the last ones given, after those they were added to.
func merge(o Option, values []Value) []item {
	var items []item
	if o.Default != "" {
		items = []item{{text: o.Default}}
	}
	for _, v := range values {
		switch {
		case v.option != o.Name:
		case v.extend:
			items = append(slices.Clone(items), v.items...)
		default:
			items = v.items
		}
	}
	if !o.IsList() {
		return items[max(0, len(items)-1):]
	}
	return split(o, items)
}

// split cuts the elements of a list at commas, except for arguments, whose values may hold some.
func split(o Option, items []item) []item {
	var out []item
	for _, i := range items {
		texts := []string{i.text}
		if !o.is(wantArg) {
			texts = strings.Split(i.text, ",")
		}
		for _, t := range texts {
			if t = strings.TrimSpace(t); t != "" {
				out = append(out, item{t, i.origin})
			}
		}
	}
	return out
}

// decode reads the texts of an option into its field.
func (r *resolution) decode(o Option) {
	for i, it := range r.given[o.Name] {
		if it.text == "" { // as from an empty flag: nothing was said
			continue
		}
		if len(o.OneOf) > 0 && !slices.Contains(o.OneOf, it.text) {
			r.fail(o.Name, i, "%q is not known%s", it.text, didYouMean(it.text, o.OneOf, "want one of "+strings.Join(o.OneOf, ", ")))
			continue
		}
		if err := assign(o.field(&r.Config), it.text); err != nil {
			r.fail(o.Name, i, "%w", err)
		}
	}
}

// fail records a problem with the i-th value of an option.
func (r *resolution) fail(option string, i int, format string, args ...any) {
	r.bad[option] = true
	r.problems = append(r.problems, fmt.Errorf("%s: %w", r.label(option, i), fmt.Errorf(format, args...)))
}

// label begins an error: the option alone when nobody gave it a value.
func (r *resolution) label(option string, i int) string {
	if len(r.given[option]) == 0 {
		return option
	}
	return r.origin(option, i).label(option)
}

// origin tells where the i-th value of an option is from. Values that nobody gave were detected or derived.
func (r *resolution) origin(option string, i int) Origin {
	if items := r.given[option]; i < len(items) {
		return items[i].origin
	}
	return Origin{}
}

// about is the i-th value of another option in the middle of an error, with its origin.
func (r *resolution) about(option string, i int) string {
	return fmt.Sprintf("%s %s (%s)", option, texts(r.field(option))[i], r.origin(option, i).String(option))
}

func (r *resolution) field(option string) any {
	o, _ := lookup(option)
	return o.field(&r.Config)
}

// sound tells whether none of the options has an error so far.
func (r *resolution) sound(options ...string) bool {
	return !slices.ContainsFunc(options, func(o string) bool { return r.bad[o] })
}
