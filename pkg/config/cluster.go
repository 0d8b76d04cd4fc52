package config

import (
	"maps"
	"slices"
	"strings"
)

// Adopt completes the configuration of a machine that joins with the values that the machines of its cluster share, by the name of
// their option, lists with commas. A value that was given here and differs is an error that shows both.
type Adopt func(shared map[string]string) (*Config, error)

// Joining is Resolve for a machine that may join a cluster: its configuration as far as it is known before it has met its cluster, and how the
// rest is filled in.
func Joining(s Sources, m Machine) (*Config, Adopt, error) {
	cfg, err := Resolve(s, m)
	if err != nil {
		return nil, nil, err
	}
	return cfg, func(shared map[string]string) (*Config, error) {
		r := resolveWith(s, m, clusterValues(shared))
		if err := invalid(r.problems); err != nil {
			return nil, err
		}
		return &r.Config, nil
	}, nil
}

// clusterValues leaves out what is no shared option, such as one that a newer server knows.
func clusterValues(shared map[string]string) []Value {
	values := []Value{} // not nil: the cluster is known
	for _, name := range slices.Sorted(maps.Keys(shared)) {
		if o, ok := lookup(name); ok && o.Shared {
			values = append(values, newValue(name, Origin{kind: fromCluster}, []string{shared[name]}))
		}
	}
	return values
}

// checkCluster refuses what differs from the cluster, and checks the whole when the cluster is known.
func (r *resolution) checkCluster(cluster []Value) {
	if cluster == nil {
		return
	}
	for _, v := range cluster {
		here, there := strings.Join(texts(r.field(v.option)), ","), v.items[0].text
		if r.sound(v.option) && here != there {
			r.fail(v.option, 0, "%q is given here and the cluster has %q; leave the option out", here, there)
		}
	}
	r.checkNetworks()
}
