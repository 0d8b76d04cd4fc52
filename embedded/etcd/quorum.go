package etcd

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
)

const (
	// lostAfter is how long there has to be no leader, at least, before the quorum counts as lost; an election takes one to two seconds.
	lostAfter = 2 * time.Second
	// dialTimeout bounds the question whether another member can be reached.
	dialTimeout = time.Second
	// lostEvery is after how many looks without a leader that is asked again.
	lostEvery = 5
)

// watchQuorum notices when there is no leader for a while, and says who is missing. etcd tells nobody when a leader is lost, only
// when there is a new one: the question is asked again and again, which costs a look at a number. A lone member is not asked.
func (m *Member) watchQuorum(ctx context.Context, s *etcdserver.EtcdServer) {
	log := m.config.Log.With("component", "etcd")
	tick := time.NewTicker(lostAfter)
	defer tick.Stop()
	missing := 0 // how often there was none
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.Lead() != 0 {
			if missing = 0; m.gate.problem() != "" {
				m.gate.trouble.Store(nil)
				log.Info("the datastore works again")
			}
			continue
		}
		if missing++; missing%lostEvery != 2 { // the first look may have come in an election
			continue
		}
		p := describeLoss(ctx, peers(s))
		if p != m.gate.problem() && ctx.Err() == nil {
			log.Error(p) //nolint:sloglint // the problem says all
		}
		m.gate.trouble.Store(&p)
	}
}

// describeLoss tells which members can be reached, and what to do.
func describeLoss(ctx context.Context, all []Peer) string {
	var here, gone []string
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, p := range all {
		if p.Learner {
			continue
		}
		asked.Go(func() {
			ok := p.Self || reachable(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if ok {
				here = append(here, p.Name)
				return
			}
			gone = append(gone, p.Name)
		})
	}
	asked.Wait()
	slices.Sort(here)
	slices.Sort(gone)
	voters := len(here) + len(gone)
	if len(here) > voters/2 {
		return fmt.Sprintf("the datastore has no leader although %d of %d servers can be reached (%s): they are electing one", len(here), voters, strings.Join(here, ", "))
	}
	return fmt.Sprintf("the datastore has lost its quorum: %d of %d servers can be reached (%s, not %s) and %d are needed; start the others again, "+
		"or, if they are lost for ever, run kedge server --cluster-reset on one that is left",
		len(here), voters, strings.Join(here, ", "), strings.Join(gone, ", "), voters/2+1)
}

// reachable tells whether something answers at a member's address.
func reachable(ctx context.Context, p Peer) bool {
	for _, text := range p.URLs {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		d := net.Dialer{Timeout: dialTimeout}
		if conn, err := d.DialContext(ctx, "tcp", u.Host); err == nil {
			_ = conn.Close() // nothing was sent
			return true
		}
	}
	return false
}
