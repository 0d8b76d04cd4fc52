package etcd

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// txn is a transaction as the API server's: change key k when it has revision 7.
func txn(success *etcdserverpb.RequestOp) *etcdserverpb.TxnRequest {
	return &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{{
			Target: etcdserverpb.Compare_MOD, Result: etcdserverpb.Compare_EQUAL, Key: []byte("k"),
			TargetUnion: &etcdserverpb.Compare_ModRevision{ModRevision: 7},
		}},
		Success: []*etcdserverpb.RequestOp{success},
	}
}

func put(value string) *etcdserverpb.RequestOp {
	return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: &etcdserverpb.PutRequest{Key: []byte("k"), Value: []byte(value)}}}
}

func del() *etcdserverpb.RequestOp {
	return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: []byte("k")}}}
}

// stored is the answer of a transaction that found another revision: what is stored, nothing when value is empty.
func stored(value string) *etcdserverpb.TxnResponse {
	r := &etcdserverpb.RangeResponse{}
	if value != "" {
		r.Kvs = []*mvccpb.KeyValue{{Key: []byte("k"), Value: []byte(value), ModRevision: 9}}
	}
	return &etcdserverpb.TxnResponse{
		Header:    &etcdserverpb.ResponseHeader{Revision: 12},
		Responses: []*etcdserverpb.ResponseOp{{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: r}}},
	}
}

// TestPersist: a write whose leader is lost is proposed again, and counts as done when it turns out to have been.
func TestPersist(t *testing.T) {
	type outcome struct {
		Succeeded bool
		Revision  int64
		Responses int
	}
	for name, c := range map[string]struct {
		request *etcdserverpb.TxnRequest
		second  *etcdserverpb.TxnResponse
		want    outcome
	}{
		"the first was lost":                  {txn(put("new")), &etcdserverpb.TxnResponse{Succeeded: true, Header: &etcdserverpb.ResponseHeader{Revision: 8}}, outcome{true, 8, 0}},
		"the first was applied":               {txn(put("new")), stored("new"), outcome{true, 9, 1}},
		"somebody else was first":             {txn(put("new")), stored("other"), outcome{false, 12, 0}},
		"the first delete was applied":        {txn(del()), stored(""), outcome{true, 12, 1}},
		"somebody changed it before a delete": {txn(del()), stored("other"), outcome{false, 12, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			g, calls := newGate(), 0
			resp, err := g.persist(t.Context(), c.request, func(ctx context.Context, req any) (any, error) {
				if calls++; calls == 1 {
					former := g.term.Swap(newTerm()) // another leader, and the grace is over
					former.end()
					<-ctx.Done()
					return nil, ctx.Err()
				}
				if len(req.(*etcdserverpb.TxnRequest).Failure) != 1 {
					t.Error("it is not asked what is stored")
				}
				return c.second, ctx.Err()
			})
			if err != nil || calls != 2 {
				t.Fatalf("%d calls, error %v", calls, err)
			}
			got := resp.(*etcdserverpb.TxnResponse)
			if diff := cmp.Diff(c.want, outcome{got.Succeeded, got.Header.Revision, len(got.Responses)}); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPersistOnce: what fails for another reason, or whose caller is gone, is not repeated.
func TestPersistOnce(t *testing.T) {
	full := errors.New("no space")
	calls := 0
	_, err := newGate().persist(t.Context(), txn(put("new")), func(context.Context, any) (any, error) { calls++; return nil, full })
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = newGate().persist(ctx, txn(put("new")), func(ctx context.Context, _ any) (any, error) { calls++; cancel(); return nil, ctx.Err() })
	if !errors.Is(err, context.Canceled) || calls != 2 {
		t.Errorf("%d calls, error %v", calls, err)
	}
	if other := txn(put("new")); !repeatable(other) {
		t.Error("the API server's writes are not repeatable")
	}
	unconditional := txn(put("new"))
	unconditional.Compare = nil
	if repeatable(unconditional) {
		t.Error("a write without condition is repeatable")
	}
}
