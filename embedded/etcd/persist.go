package etcd

import (
	"bytes"
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"google.golang.org/grpc"
)

const (
	// moveGrace is how long a write may still be acknowledged after another leader was elected: what the former one had
	// accepted and the new one knows is applied within milliseconds.
	moveGrace = 300 * time.Millisecond
	// persistTries bounds how often a write is proposed.
	persistTries = 3
)

// term is a time in which the leader stays the same. Its context ends some time after that: what is not done by then never will be.
type term struct {
	over context.Context //nolint:containedctx // it is what the term is
	end  context.CancelFunc
}

func newTerm() *term {
	over, end := context.WithCancel(context.Background())
	return &term{over, end}
}

// followLeader begins a new term whenever there is a new leader.
func (g *gate) followLeader(ctx context.Context, s *etcdserver.EtcdServer) {
	for {
		changed := s.LeaderChangedNotify()
		select {
		case <-ctx.Done():
			return
		case <-s.StoppingNotify():
			return
		case <-changed:
		}
		former := g.term.Swap(newTerm())
		time.AfterFunc(moveGrace, former.end)
	}
}

// persist proposes a write again when the leader has changed before it was acknowledged. A proposal on its way to a leader
// that is lost is lost with it, and etcd would say after seven seconds that the request timed out. To repeat it is safe for what changes a key
// only if its revision is a certain one, and all of the API server's writes do: of two that are applied the second changes nothing.
func (g *gate) persist(ctx context.Context, req *etcdserverpb.TxnRequest, handler grpc.UnaryHandler) (any, error) {
	silent := len(req.Failure) == 0 // the caller does not want to know what is stored; here it has to be known
	for try := 1; ; try++ {
		t := g.term.Load()
		bounded, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(t.over, cancel)
		resp, err := handler(bounded, req)
		stop()
		cancel()
		if lost := err != nil && t.over.Err() != nil && ctx.Err() == nil; lost && try < persistTries {
			if err := g.waitLeader(ctx); err != nil {
				return nil, err
			}
			if silent {
				read := &etcdserverpb.RangeRequest{Key: req.Compare[0].Key}
				req.Failure = []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: read}}}
			}
			continue
		}
		if got, ok := resp.(*etcdserverpb.TxnResponse); ok && try > 1 && err == nil && !got.Succeeded && !applied(req, got) && silent {
			got.Responses = nil
		}
		return resp, err
	}
}

// repeatable tells whether a request changes one key that has to have a certain revision.
func repeatable(r *etcdserverpb.TxnRequest) bool {
	return len(r.Compare) == 1 && r.Compare[0].Target == etcdserverpb.Compare_MOD &&
		r.Compare[0].Result == etcdserverpb.Compare_EQUAL && len(r.Compare[0].RangeEnd) == 0 && len(r.Success) == 1
}

// applied makes a success of a repeated transaction that failed because its first try had been applied: what is
// stored is what it wanted to store. It returns false for any other failure.
func applied(wanted *etcdserverpb.TxnRequest, got *etcdserverpb.TxnResponse) bool {
	if len(got.Responses) != 1 || got.Responses[0].GetResponseRange() == nil {
		return false
	}
	found := got.Responses[0].GetResponseRange().Kvs
	switch put, del := wanted.Success[0].GetRequestPut(), wanted.Success[0].GetRequestDeleteRange(); {
	case put != nil && len(found) == 1 && bytes.Equal(found[0].Value, put.Value):
		header := *got.Header
		header.Revision = found[0].ModRevision
		got.Header, got.Succeeded = &header, true
		got.Responses[0] = &etcdserverpb.ResponseOp{Response: &etcdserverpb.ResponseOp_ResponsePut{ResponsePut: &etcdserverpb.PutResponse{Header: &header}}}
	case del != nil && len(found) == 0:
		got.Succeeded = true
		got.Responses[0] = &etcdserverpb.ResponseOp{Response: &etcdserverpb.ResponseOp_ResponseDeleteRange{
			ResponseDeleteRange: &etcdserverpb.DeleteRangeResponse{Header: got.Header, Deleted: 1},
		}}
	}
	return got.Succeeded
}
