package nftables

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"kedge/pkg/network/proxy/state"
)

// crowd are n services with five endpoints each.
func crowd(n int) []*state.Service {
	all := make([]*state.Service, n)
	for i := range all {
		var endpoints []string
		for e := range 5 {
			endpoints = append(endpoints, fmt.Sprintf("10.42.%d.%d:8080", (i*5+e)/250, (i*5+e)%250+1))
		}
		all[i] = clusterIP(fmt.Sprintf("service-%d", i), fmt.Sprintf("10.43.%d.%d:80", i/250+1, i%250+1), endpoints...)
	}
	return all
}

func forSizes(b *testing.B, run func(b *testing.B, services []*state.Service)) {
	for _, n := range []int{1000, 5000, 10000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) { run(b, crowd(n)) })
	}
}

// BenchmarkProgram is the first Sync of an empty kernel.
func BenchmarkProgram(b *testing.B) {
	forSizes(b, func(b *testing.B, services []*state.Service) {
		wish := wishes(services...)
		backend := fresh(b)
		b.ReportAllocs()
		for b.Loop() {
			must(backend.Sync(testNode(), wish))(b)
			b.StopTimer()
			check(b, Clean())
			backend.model = newModel(0, nil)
			b.StartTimer()
		}
	})
}

// BenchmarkSync is a Sync that finds nothing to do, in a process that has just started.
func BenchmarkSync(b *testing.B) {
	forSizes(b, func(b *testing.B, services []*state.Service) {
		wish := wishes(services...)
		backend := fresh(b)
		must(backend.Sync(testNode(), wish))(b)
		b.ReportAllocs()
		for b.Loop() {
			backend.model = newModel(0, nil)
			if n := must(backend.Sync(testNode(), wish))(b); n != 0 {
				b.Fatalf("%d differences", n)
			}
		}
	})
}

// BenchmarkUpdate is one endpoint that comes or goes.
func BenchmarkUpdate(b *testing.B) {
	forSizes(b, func(b *testing.B, services []*state.Service) {
		backend := fresh(b)
		must(backend.Sync(testNode(), wishes(services...)))(b)
		more := make([]*state.Service, len(services))
		for i, s := range services {
			larger := *s
			larger.Cluster = append(slices.Clone(s.Cluster), state.Endpoint{AddrPort: netip.MustParseAddrPort("10.42.255.1:8080")})
			more[i] = &larger
		}
		var took []time.Duration
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			n := i / 2 % len(services)
			change := state.Change{Old: services[n], New: more[n]}
			if i%2 == 1 {
				change = state.Change{Old: more[n], New: services[n]}
			}
			begin := time.Now()
			check(b, backend.Update([]state.Change{change}))
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	})
}
