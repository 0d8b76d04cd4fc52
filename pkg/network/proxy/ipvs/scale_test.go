package ipvs

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"kedge/pkg/network/proxy/state"
)

// TestScale measures with as many services of five endpoints as KEDGE_SCALE says, 500 by default; it fails only when something is wrong.
func TestScale(t *testing.T) {
	b := kernelTest(t)
	number, err := strconv.Atoi(os.Getenv("KEDGE_SCALE"))
	if err != nil {
		number = 500
	}
	var services []*state.Service
	for i := range number {
		services = append(services, scaled(i, 5))
	}
	took := func(what string, do func() int) {
		t.Helper()
		begin := time.Now()
		n := do()
		t.Logf("%s: %v, %d differences", what, time.Since(begin).Round(time.Millisecond), n)
	}
	took("first sync", func() int { return b.sync(t, services...) })
	took("sync without differences", func() int {
		n := b.sync(t, services...)
		if n != 0 {
			t.Errorf("%d differences", n)
		}
		return n
	})
	var times []time.Duration
	for i := range 200 {
		old := services[i%number]
		now := scaled(i%number, 4+i%2)
		begin := time.Now()
		if err := b.Update([]state.Change{{Old: old, New: now}}); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(begin))
		services[i%number] = now
	}
	slices.Sort(times)
	t.Logf("one change: p50 %v, p99 %v", times[len(times)/2], times[len(times)*99/100])
	took("clean-up", func() int {
		if err := Clean(); err != nil {
			t.Error(err)
		}
		return 0
	})
}

func scaled(i, endpoints int) *state.Service {
	var to []string
	for e := range endpoints {
		n := i*5 + e
		to = append(to, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 42, byte(n >> 8), byte(n)}), uint16(8000+n>>16)).String())
	}
	slices.SortFunc(to, func(a, b string) int { return netip.MustParseAddrPort(a).Compare(netip.MustParseAddrPort(b)) })
	return service(fmt.Sprintf("s%d", i), netip.AddrFrom4([4]byte{10, 43, byte(i >> 8), byte(i)}).String(), to...)
}
