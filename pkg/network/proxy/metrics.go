package proxy

import (
	"fmt"
	"time"

	"k8s.io/component-base/metrics"
	upstream "k8s.io/kubernetes/pkg/proxy"
	"k8s.io/kubernetes/pkg/proxy/apis/config"
	kubeproxy "k8s.io/kubernetes/pkg/proxy/metrics"

	"kedge/pkg/network/proxy/state"
)

// meters are what kube-proxy has no name for, in its style; its own metrics are package state of kubeproxy.
type meters struct {
	ports     *metrics.GaugeVec
	frontends *metrics.GaugeVec
	endpoints *metrics.GaugeVec
	repairs   *metrics.Counter
	failures  *metrics.Counter
}

// newMeters registers the metrics of kube-proxy and those here.
func newMeters(register func(...metrics.Registerable) error) (*meters, error) {
	kubeproxy.RegisterMetrics(config.ProxyModeNFTables)
	gauge := func(name, help string) *metrics.GaugeVec {
		return metrics.NewGaugeVec(&metrics.GaugeOpts{Subsystem: "kubeproxy", Name: name, Help: help, StabilityLevel: metrics.ALPHA}, []string{"ip_family"})
	}
	counter := func(name, help string) *metrics.Counter {
		return metrics.NewCounter(&metrics.CounterOpts{Subsystem: "kubeproxy", Name: name, Help: help, StabilityLevel: metrics.ALPHA})
	}
	m := &meters{
		ports:     gauge("sync_proxy_rules_service_ports", "Number of service ports that are programmed"),
		frontends: gauge("sync_proxy_rules_frontends", "Number of addresses and node ports of services that are programmed"),
		endpoints: gauge("sync_proxy_rules_endpoints", "Number of endpoints that are programmed"),
		repairs:   counter("sync_proxy_rules_repairs_total", "Number of differences that were found in the kernel, and repaired, without a change of services"),
		failures:  counter("sync_proxy_rules_failures_total", "Number of times that the kernel refused what was wanted"),
	}
	for _, r := range []metrics.Registerable{m.ports, m.frontends, m.endpoints, m.repairs, m.failures} {
		if err := register(r); err != nil {
			return nil, fmt.Errorf("register metrics of the service proxy: %w", err)
		}
	}
	return m, nil
}

// count follows what is programmed.
func (m *meters) count(changes []state.Change) {
	for _, c := range changes {
		m.add(c.Old, -1)
		m.add(c.New, 1)
	}
}

func (m *meters) add(s *state.Service, sign float64) {
	if s == nil {
		return
	}
	family := familyName(s.Key.V6)
	m.ports.WithLabelValues(family).Add(sign)
	m.frontends.WithLabelValues(family).Add(sign * float64(len(s.Frontends)))
	m.endpoints.WithLabelValues(family).Add(sign * float64(max(len(s.Cluster), len(s.Local))))
	internal, external := false, false
	for _, f := range s.Frontends {
		dropped := f.Outside == state.Local && len(s.Local) == 0 && s.Endpoints
		internal = internal || dropped && f.Kind == state.ClusterIP
		external = external || dropped && f.Kind != state.ClusterIP
	}
	if internal {
		kubeproxy.SyncProxyRulesNoLocalEndpointsTotal.WithLabelValues("internal", family).Add(sign)
	}
	if external {
		kubeproxy.SyncProxyRulesNoLocalEndpointsTotal.WithLabelValues("external", family).Add(sign)
	}
}

// applied records that a batch is in the kernel.
func (m *meters) applied(b batch, full bool, begin time.Time) {
	m.count(b.changes)
	took := time.Since(begin).Seconds()
	for f, names := range b.touched {
		if !full && len(names) == 0 {
			continue
		}
		family := familyName(f.v6)
		kubeproxy.SyncProxyRulesLatency.WithLabelValues(family).Observe(took)
		if full {
			kubeproxy.SyncFullProxyRulesLatency.WithLabelValues(family).Observe(took)
		} else {
			kubeproxy.SyncPartialProxyRulesLatency.WithLabelValues(family).Observe(took)
		}
		kubeproxy.SyncProxyRulesLastTimestamp.WithLabelValues(family).SetToCurrentTime()
		for _, trigger := range b.triggers[f] {
			kubeproxy.NetworkProgrammingLatency.WithLabelValues(family).Observe(kubeproxy.SinceInSeconds(trigger))
		}
	}
}

// queued records that a change has come.
func queued(v6 bool) {
	kubeproxy.SyncProxyRulesLastQueuedTimestamp.WithLabelValues(familyName(v6)).SetToCurrentTime()
}

func familyName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// add joins a batch that is still to be applied with the next one.
func (b *batch) add(next batch) {
	b.changes = append(b.changes, next.changes...)
	if b.touched == nil {
		b.touched, b.triggers = map[*family][]upstream.ServicePortName{}, map[*family][]time.Time{}
	}
	for f, names := range next.touched {
		b.touched[f] = append(b.touched[f], names...)
	}
	for f, triggers := range next.triggers {
		b.triggers[f] = append(b.triggers[f], triggers...)
	}
}
