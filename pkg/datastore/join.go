package datastore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// joinInterval is the pause before a cluster is asked again whether it takes a member.
const joinInterval = time.Second

// Add makes this server a learner of the cluster: name and url are its own. It returns the names and URLs of all members, with
// which the server's member has to start. A member that this server was in a former life, of which it has lost the data, is
// taken out first. What heals is tried again until ctx ends: the cluster takes one learner at a time, and none within five
// seconds after another has come.
func (c *Client) Add(ctx context.Context, name, url string, log *slog.Logger) (map[string]string, error) {
	said := ""
	for {
		cluster, err := c.add(ctx, name, url, log)
		if err == nil || !heals(err) {
			return cluster, err
		}
		if text := err.Error(); text != said {
			log.Info("the cluster does not take another server yet, trying again", "reason", err)
			said = text
		}
		timer := time.NewTimer(joinInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("join the datastore: %w (%w)", context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

// errAlive is returned for a name that another server has.
var errAlive = errors.New("a server of this name is running")

// heals tells whether it is worth to try again. The connection fails while the other server starts.
func heals(err error) bool {
	return !errors.Is(err, errAlive) && !errors.Is(err, context.Canceled)
}

func (c *Client) add(ctx context.Context, name, url string, log *slog.Logger) (map[string]string, error) {
	all, err := c.Members(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		mine := slices.Contains(m.URLs, url)
		switch {
		case mine && m.Name == "": // added by a start that did not come to its end
			return clusterOf(all, m.ID, name), nil
		case m.Name == name && m.Reached && !mine:
			return nil, fmt.Errorf("join the datastore as %s: %w at %s; give this one another --node-name, or stop the other", name, errAlive, m.URLs[0])
		case m.Name == name || mine:
			log.Info("removing the member that this server was before it lost its data", "member", cmp.Or(m.Name, m.ID), "id", m.ID)
			if err := c.remove(ctx, m); err != nil {
				return nil, err
			}
		}
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	added, err := c.etcd.MemberAddAsLearner(ctx, []string{url})
	if err != nil {
		return nil, fmt.Errorf("join the datastore: %w", explain(err))
	}
	return clusterOf(describeAll(added.Members), describe(added.Member, 0).ID, name), nil
}

// explain puts etcd's reasons into words that say what to do.
func explain(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyLearners):
		return errors.New("another server is joining at the moment")
	case errors.Is(err, rpctypes.ErrUnhealthy), errors.Is(err, rpctypes.ErrMemberNotEnoughStarted):
		return errors.New("its members have not all been connected for five seconds; if one is gone for ever, remove it with " +
			"kedge etcd member remove NAME on another server, or delete its Node")
	}
	return err
}

func describeAll(members []*etcdserverpb.Member) []Member {
	var all []Member
	for _, m := range members {
		all = append(all, describe(m, 0))
	}
	return all
}

// clusterOf maps names to URLs; self is the id of this server's member. A member that has not started has no name yet: its id stands for it.
func clusterOf(all []Member, self, name string) map[string]string {
	cluster := map[string]string{}
	for _, m := range all {
		if len(m.URLs) == 0 {
			continue
		}
		if m.ID == self {
			cluster[name] = m.URLs[0]
			continue
		}
		cluster[cmp.Or(m.Name, m.ID)] = m.URLs[0]
	}
	return cluster
}
