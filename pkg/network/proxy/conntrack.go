package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	upstream "k8s.io/kubernetes/pkg/proxy"
	"k8s.io/kubernetes/pkg/proxy/metrics"
)

// flows picks connection tracking entries of UDP services that lead to what is no endpoint any more, or nowhere. A client that keeps
// sending from one port would else keep the translation, or the lack of it, that its first datagram met.
type flows struct {
	serving map[spot]map[netip.AddrPort]bool // never empty: without an endpoint there is nothing better to send to
	own     []netip.Addr                     // addresses that answer node ports
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f flows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	asked, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	asked = asked.Unmap()
	at := spot{v6: asked.Is6(), protocol: unix.IPPROTO_UDP, address: asked, port: flow.Forward.DstPort}
	serving, ok := f.serving[at]
	if !ok && slices.Contains(f.own, asked) {
		at.address = netip.Addr{}
		serving, ok = f.serving[at]
	}
	answers, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return ok && !serving[netip.AddrPortFrom(answers.Unmap(), flow.Reverse.SrcPort)]
}

// sweeper removes such entries beside the work of the proxy: the kernel lists all of its entries for it.
type sweeper struct {
	links *netlink.Handle
	log   *slog.Logger
	wake  chan struct{}

	mu      sync.Mutex
	pending flows
}

func newSweeper(log *slog.Logger) (*sweeper, error) {
	links, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink for connection tracking: %w", err)
	}
	return &sweeper{links: links, log: log, wake: make(chan struct{}, 1)}, nil
}

// add notes the spots of UDP services that may have changed. It reads the maps of the family, and returns at once.
func (s *sweeper) add(f *family, touched []upstream.ServicePortName, w *wishes) {
	found := map[spot]map[netip.AddrPort]bool{}
	for _, name := range touched {
		wanted := w.wanted[f.key(name)]
		if wanted == nil || wanted.Protocol != unix.IPPROTO_UDP {
			continue
		}
		if serving := servingOf(f.endpoints[name]); len(serving) > 0 {
			for _, front := range wanted.Frontends {
				found[spotOf(wanted, front)] = serving
			}
		}
	}
	if len(found) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending.serving == nil {
		s.pending.serving = map[spot]map[netip.AddrPort]bool{}
	}
	maps.Copy(s.pending.serving, found)
	s.pending.own = w.node.NodePortAddresses
	wake(s.wake)
}

// servingOf are the endpoints to which connections may still go, by whatever policy: a change of policies ends no connection.
func servingOf(endpoints []upstream.Endpoint) map[netip.AddrPort]bool {
	serving := map[netip.AddrPort]bool{}
	for _, e := range endpoints {
		if a, err := netip.ParseAddr(e.IP()); err == nil && e.IsServing() {
			serving[netip.AddrPortFrom(a.Unmap(), uint16(e.Port()))] = true
		}
	}
	return serving
}

// run sweeps when there is something to sweep, until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	defer s.links.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		work := s.pending
		s.pending = flows{}
		s.mu.Unlock()
		for _, v6 := range []bool{false, true} {
			s.sweep(work, v6)
		}
	}
}

func (s *sweeper) sweep(work flows, v6 bool) {
	concerned := false
	for at := range work.serving {
		concerned = concerned || at.v6 == v6
	}
	if !concerned {
		return
	}
	begin, name, family := time.Now(), "IPv4", netlink.InetFamily(unix.AF_INET)
	if v6 {
		name, family = "IPv6", unix.AF_INET6
	}
	n, err := s.links.ConntrackDeleteFilters(netlink.ConntrackTable, family, work)
	if err != nil {
		s.log.Warn("UDP connections to former endpoints could not all be forgotten", "family", name, "error", err)
	}
	if n > 0 {
		s.log.Debug("forgot UDP connections to former endpoints", "family", name, "count", n)
	}
	metrics.ReconcileConntrackFlowsLatency.WithLabelValues(name).Observe(time.Since(begin).Seconds())
	metrics.ReconcileConntrackFlowsDeletedEntriesTotal.WithLabelValues(name).Add(float64(n))
}

var _ netlink.CustomConntrackFilter = flows{}
