package datastore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// reachTimeout bounds the question whether a member's door is open.
const reachTimeout = time.Second

// Member is one server's part of the datastore.
type Member struct {
	ID      string   `json:"id"`   // hexadecimal
	Name    string   `json:"name"` // of the server's node; empty: it was added and has not started yet
	URLs    []string `json:"urls"`
	Learner bool     `json:"learner,omitempty"` // not yet a voter
	Leader  bool     `json:"leader,omitempty"`
	Reached bool     `json:"reached"` // something answers at its address

	number uint64
}

// State is a word for what the member is.
func (m Member) State() string {
	switch {
	case m.Name == "":
		return "not started"
	case !m.Reached:
		return "unreachable"
	case m.Leader:
		return "leader"
	case m.Learner:
		return "learner"
	}
	return "voter"
}

// Members returns the members as the one that is asked knows them, ordered by name. It works without a quorum.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	list, err := c.etcd.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	leader := uint64(0)
	if s, err := c.etcd.Status(ctx, c.etcd.Endpoints()[0]); err == nil {
		leader = s.Leader
	}
	all := make([]Member, len(list.Members))
	var asked sync.WaitGroup
	for i, m := range list.Members {
		asked.Go(func() {
			all[i] = describe(m, leader)
			all[i].Reached = m.ID == list.Header.MemberId || reached(ctx, m.PeerURLs)
		})
	}
	asked.Wait()
	slices.SortFunc(all, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

func describe(m *etcdserverpb.Member, leader uint64) Member {
	return Member{ID: strconv.FormatUint(m.ID, 16), Name: m.Name, URLs: m.PeerURLs, Learner: m.IsLearner, Leader: m.ID == leader, number: m.ID}
}

func reached(ctx context.Context, urls []string) bool {
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		d := net.Dialer{Timeout: reachTimeout}
		if conn, err := d.DialContext(ctx, "tcp", u.Host); err == nil {
			_ = conn.Close() // nothing was sent
			return true
		}
	}
	return false
}

// Remove takes a member out of the cluster. name is the member's name or id.
func (c *Client) Remove(ctx context.Context, name string) (Member, error) {
	all, err := c.Members(ctx)
	if err != nil {
		return Member{}, err
	}
	var names []string
	for _, m := range all {
		if name != "" && (m.Name == name || m.ID == name) {
			if len(all) == 1 {
				return m, fmt.Errorf("remove member %s: it is the only one; kedge reset ends a cluster", name)
			}
			return m, c.remove(ctx, m)
		}
		names = append(names, cmp.Or(m.Name, m.ID))
	}
	return Member{}, fmt.Errorf("remove member: %q is neither the name nor the id of one; there are %s", name, strings.Join(names, ", "))
}

func (c *Client) remove(ctx context.Context, m Member) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := c.etcd.MemberRemove(ctx, m.number); err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) { // another may have been first
		return fmt.Errorf("remove member %s: %w", cmp.Or(m.Name, m.ID), err)
	}
	return nil
}
