package ipvs

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestRoutesOfOverlay has a route as the overlay makes them, of the same protocol: it is not the proxy's and stays.
func TestRoutesOfOverlay(t *testing.T) {
	inNamespace(t)
	for _, cidr := range []string{"10.42.0.0/16", "fd42::/48"} {
		dst, err := netlink.ParseIPNet(cidr)
		if err == nil {
			err = netlink.RouteReplace(&netlink.Route{Dst: dst, Protocol: routeProtocol, Type: unix.RTN_UNREACHABLE})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := openRouter()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	want := wantedRoutes(testNode(), map[netip.Addr]int{netip.MustParseAddr("198.51.100.1"): 1})
	var counts []int
	for range 2 {
		n, errs := r.ensure(want, sources{})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		counts = append(counts, n)
	}
	if !slices.Equal(counts, []int{5, 0}) { // three routes and two rules, then nothing
		t.Errorf("differences are %d, want 5 and then 0", counts)
	}
	list, err := r.handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: routeProtocol, Type: unix.RTN_UNREACHABLE},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
	if err != nil || len(list) != 2 {
		t.Errorf("the overlay's routes are %v (%v), want both", list, err)
	}
}
