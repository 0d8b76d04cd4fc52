package etcd

import (
	"context"
	"expvar"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// campaignInterval is how often a lone member that starts is told to elect itself, once it has applied its log, which is a
// matter of milliseconds.
const campaignInterval = 5 * time.Millisecond

// campaignAlone makes the only voter of a cluster leader at once. It would otherwise wait for one to ten ticks, for a leader that cannot
// be there. The message is the one by which a leader hands over (raft thesis, section 3.10). With other voters nothing is done:
// it would depose a leader that works.
func campaignAlone(ctx context.Context, s *etcdserver.EtcdServer) {
	tick := time.NewTicker(campaignInterval)
	defer tick.Stop()
	for s.Leader() == 0 && alone(s) {
		if settled() {
			id := uint64(s.MemberID())
			_ = s.Process(ctx, raftpb.Message{Type: raftpb.MsgTimeoutNow, From: id, To: id}) // fails only when it stops
		}
		select {
		case <-ctx.Done():
			return
		case <-s.StoppingNotify():
			return
		case <-tick.C:
		}
	}
}

// settled tells whether raft knows that all committed entries of the log are applied. Asked to elect itself before that, it looks through
// the others for changes of members, and panics when etcd, which is a step ahead of it, has compacted the first one meanwhile.
func settled() bool {
	status, ok := expvar.Get("raft.status").(expvar.Func)
	if !ok {
		return false
	}
	now, ok := status.Value().(raft.Status)
	return ok && now.Applied >= now.Commit
}

// alone tells whether s is the only member. A learner would make no difference to an election, but is never without a voter.
func alone(s *etcdserver.EtcdServer) bool {
	members := s.Cluster().Members()
	return len(members) == 1 && members[0].ID == s.MemberID()
}
