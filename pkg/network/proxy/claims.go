package proxy

import (
	"cmp"
	"net/netip"
	"slices"

	"kedge/pkg/network/proxy/state"
)

// spot is where a frontend listens. The address of a node port is not valid.
type spot struct {
	v6       bool
	protocol uint8
	address  netip.Addr
	port     uint16
}

func spotOf(s *state.Service, f state.Frontend) spot {
	return spot{s.Key.V6, s.Protocol, f.Address, f.Port}
}

// claim is a Service that wants a spot.
type claim struct {
	service *state.Service
	kind    state.Kind
}

// compare orders claims, the best first.
func (c claim) compare(o claim) int {
	rank := func(k state.Kind) int {
		return slices.Index([]state.Kind{state.ClusterIP, state.LoadBalancer, state.ExternalIP, state.NodePort}, k)
	}
	return cmp.Or(rank(c.kind)-rank(o.kind), cmp.Compare(c.service.Key.String(), o.service.Key.String()))
}

// claims decides who has a spot that several Services want.
type claims struct {
	holders map[spot]claim
	losers  map[spot][]claim // few, usually none
}

func newClaims() claims { return claims{map[spot]claim{}, map[spot][]claim{}} }

// replace gives back what old had and claims what now wants; either may be nil. It returns the other Services that won or lost.
func (c claims) replace(old, now *state.Service) []state.Key {
	var others []state.Key
	if old != nil {
		for _, f := range old.Frontends {
			others = append(others, c.release(spotOf(old, f), old)...)
		}
	}
	if now != nil {
		for _, f := range now.Frontends {
			others = append(others, c.claim(spotOf(now, f), claim{now, f.Kind})...)
		}
	}
	return others
}

func (c claims) release(at spot, s *state.Service) []state.Key {
	rest := slices.DeleteFunc(c.losers[at], func(l claim) bool { return l.service == s })
	if len(rest) > 0 {
		c.losers[at] = rest
	} else {
		delete(c.losers, at)
	}
	if c.holders[at].service != s {
		return nil
	}
	delete(c.holders, at)
	if len(rest) == 0 {
		return nil
	}
	delete(c.losers, at)
	var touched []state.Key
	for _, l := range rest {
		touched = append(touched, c.claim(at, l)...)
	}
	return append(touched, c.holders[at].service.Key)
}

func (c claims) claim(at spot, wants claim) []state.Key {
	holder, taken := c.holders[at]
	if !taken {
		c.holders[at] = wants
		return nil
	}
	if wants.compare(holder) > 0 {
		c.losers[at] = append(c.losers[at], wants)
		return nil
	}
	c.holders[at] = wants
	c.losers[at] = append(c.losers[at], holder)
	return []state.Key{holder.service.Key}
}

// granted is the wish without the frontends that others have: the wish itself, usually.
func (c claims) granted(s *state.Service) *state.Service {
	mine := func(f state.Frontend) bool { return c.holders[spotOf(s, f)].service == s }
	lost := slices.IndexFunc(s.Frontends, func(f state.Frontend) bool { return !mine(f) })
	if lost < 0 {
		return s
	}
	reduced := *s
	reduced.Frontends = nil
	for _, f := range s.Frontends {
		if mine(f) {
			reduced.Frontends = append(reduced.Frontends, f)
		}
	}
	return &reduced
}
