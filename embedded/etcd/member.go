package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"
)

// promoteInterval is how often a learner asks whether it has caught up. The leader alone knows.
const promoteInterval = 200 * time.Millisecond

// Peer is a member of the cluster as this member knows it.
type Peer struct {
	ID      uint64
	Name    string // empty: it was added and has not started yet
	URLs    []string
	Learner bool
	Self    bool
	Leader  bool
}

// Peers returns the members of the cluster as this member knows them, without asking others; nil when it does not run.
func (m *Member) Peers() []Peer {
	s := m.running()
	if s == nil {
		return nil
	}
	return peers(s)
}

func peers(s *etcdserver.EtcdServer) []Peer {
	var all []Peer
	for _, known := range s.Cluster().Members() {
		all = append(all, Peer{
			ID: uint64(known.ID), Name: known.Name, URLs: slices.Clone(known.PeerURLs), Learner: known.IsLearner,
			Self: known.ID == s.MemberID(), Leader: known.ID == s.Leader(),
		})
	}
	return all
}

// Started is closed when the member's log has been read: Peers is valid, although there may be no leader yet.
func (m *Member) Started() <-chan struct{} { return m.started }

// Problem says what is wrong with the cluster of members, empty when it works.
func (m *Member) Problem() string { return m.gate.problem() }

func (m *Member) running() *etcdserver.EtcdServer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server
}

var errNotRunning = errors.New("the etcd member does not run")

// Promote makes a voter of this member when it is a learner. It waits until the learner has caught up.
func (m *Member) Promote(ctx context.Context) error {
	s := m.running()
	if s == nil {
		return errNotRunning
	}
	tick := time.NewTicker(promoteInterval)
	defer tick.Stop()
	for s.IsLearner() {
		_, err := s.PromoteMember(ctx, uint64(s.MemberID()))
		if err != nil && !errors.Is(err, etcderrors.ErrLearnerNotReady) {
			m.config.Log.Debug("not promoted yet", "component", "etcd", "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("become a voter of the cluster: %w", ctx.Err())
		case <-s.StoppingNotify():
			return errNotRunning
		case <-tick.C:
		}
	}
	return nil
}

// Readdress tells the cluster at which URL this member is, when that has changed.
func (m *Member) Readdress(ctx context.Context) error {
	s := m.running()
	if s == nil {
		return errNotRunning
	}
	self := s.Cluster().Member(s.MemberID())
	if self == nil || slices.Equal(self.PeerURLs, []string{m.config.Advertise}) {
		return nil
	}
	changed := *self
	changed.PeerURLs = []string{m.config.Advertise}
	if _, err := s.UpdateMember(ctx, changed); err != nil {
		return fmt.Errorf("change own URL from %q to %s: %w", self.PeerURLs, m.config.Advertise, err)
	}
	return nil
}
