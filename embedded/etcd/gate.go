package etcd

import (
	"context"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// holdTimeout bounds how long writes are held back for a leader that hands over.
	holdTimeout = time.Second
	// leaderTimeout is how long a request waits for a leader: longer than an election takes, shorter than clients are patient.
	leaderTimeout = 4 * time.Second
)

// gate stands before the member's requests. It holds writes back for the moment in which a leader hands over, because a proposal
// that reaches a leader at that moment is dropped without a word; it repeats those that were lost with a leader; and it answers
// for a cluster without leader, in words.
type gate struct {
	server  atomic.Pointer[etcdserver.EtcdServer]
	held    atomic.Pointer[chan struct{}] // closed when writes may pass again; nil: they may
	trouble atomic.Pointer[string]        // what watchQuorum found
	term    atomic.Pointer[term]
}

func newGate() *gate {
	g := &gate{}
	g.term.Store(newTerm())
	return g
}

func (g *gate) set(s *etcdserver.EtcdServer) { g.server.Store(s) }

func (g *gate) problem() string {
	if p := g.trouble.Load(); p != nil {
		return *p
	}
	return ""
}

func (g *gate) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	write, linearizable := classify(req)
	if write {
		g.waitHeld(ctx)
	}
	if linearizable {
		if err := g.waitLeader(ctx); err != nil {
			return nil, err
		}
	}
	if r, ok := req.(*etcdserverpb.TxnRequest); ok && repeatable(r) {
		return g.persist(ctx, r, handler)
	}
	return handler(ctx, req)
}

// classify tells whether a request changes data, and whether it needs a leader.
func classify(req any) (write, linearizable bool) {
	switch r := req.(type) {
	case *etcdserverpb.TxnRequest, *etcdserverpb.PutRequest, *etcdserverpb.DeleteRangeRequest, *etcdserverpb.CompactionRequest,
		*etcdserverpb.LeaseGrantRequest, *etcdserverpb.LeaseRevokeRequest,
		*etcdserverpb.MemberAddRequest, *etcdserverpb.MemberRemoveRequest, *etcdserverpb.MemberUpdateRequest:
		return true, true
	case *etcdserverpb.RangeRequest:
		return false, !r.Serializable
	case *etcdserverpb.MemberListRequest:
		return false, r.Linearizable
	}
	return false, false
}

// hold keeps writes back until release is called, at most for holdTimeout.
func (g *gate) hold() (release func()) {
	open := make(chan struct{})
	if !g.held.CompareAndSwap(nil, &open) {
		return func() {}
	}
	release = func() {
		if g.held.CompareAndSwap(&open, nil) {
			close(open)
		}
	}
	time.AfterFunc(holdTimeout, release)
	return release
}

func (g *gate) waitHeld(ctx context.Context) {
	held := g.held.Load()
	if held == nil {
		return
	}
	select {
	case <-*held:
	case <-ctx.Done():
	}
}

// waitLeader returns when there is a leader. etcd itself would let a request wait for seven seconds and say that it timed out. The code of the
// error is one that etcd's client does not answer with a hundred further tries.
func (g *gate) waitLeader(ctx context.Context) error {
	s := g.server.Load()
	if s == nil || s.Lead() != 0 {
		return nil
	}
	if p := g.problem(); p != "" {
		return status.Error(codes.FailedPrecondition, p)
	}
	timer := time.NewTimer(leaderTimeout)
	defer timer.Stop()
	for {
		changed := s.LeaderChangedNotify()
		if s.Lead() != 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-s.StoppingNotify():
			return nil
		case <-timer.C:
			p := g.problem()
			if p == "" {
				p = "the datastore has no leader"
			}
			return status.Error(codes.FailedPrecondition, p)
		}
	}
}
