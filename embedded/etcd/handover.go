package etcd

import (
	"context"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
)

const (
	// handoverKey is written by a leader that is about to hand over; its value is the leader's member id. It lies outside of
	// what the API server knows.
	handoverKey = "/kedge/handover"
	// drainTime is how long a leader waits after that: for the other members to hold writes back, and for those on their way.
	drainTime = 50 * time.Millisecond
	// handoverTimeout bounds the whole.
	handoverTimeout = 3 * time.Second
)

// handOver moves the leadership to another voter, if this member has it and there is one, so that no write is lost when it stops.
func (m *Member) handOver(s *etcdserver.EtcdServer) {
	if s.Leader() != s.MemberID() || len(peers(s)) < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handoverTimeout)
	defer cancel()
	log := m.config.Log.With("component", "etcd")
	if _, err := s.Put(ctx, &etcdserverpb.PutRequest{Key: []byte(handoverKey), Value: []byte(strconv.FormatUint(s.Lead(), 16))}); err != nil {
		log.Warn("other servers could not be told that the leadership moves", "error", err)
	}
	drained := time.NewTimer(drainTime)
	defer drained.Stop()
	<-drained.C
	if err := s.TryTransferLeadershipOnShutdown(); err != nil {
		log.Warn("leadership was not handed over: the other servers elect a leader in a second or two", "error", err)
	}
}

// followHandovers holds this member's writes back while another one hands over.
func (m *Member) followHandovers(ctx context.Context, s *etcdserver.EtcdServer) {
	stream := s.Watchable().NewWatchStream()
	defer stream.Close()
	if _, err := stream.Watch(0, []byte(handoverKey), nil, 0); err != nil {
		m.config.Log.Warn("handovers of the leadership are not followed", "component", "etcd", "error", err)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-stream.Chan():
			if !ok {
				return
			}
		}
		m.untilHandedOver(ctx, s)
	}
}

func (m *Member) untilHandedOver(ctx context.Context, s *etcdserver.EtcdServer) {
	changed := s.LeaderChangedNotify()
	release := m.gate.hold()
	defer release()
	timer := time.NewTimer(holdTimeout)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}
