package tunnel

import (
	"net/netip"
	"slices"
	"time"
)

// Claim is a Node object that names an address as its own.
type Claim struct {
	Node  string
	Since time.Time // when the Node was created
}

// owner decides whose an address is; nobody's is "". A node says itself in its Node object which addresses it has, so that one that
// claims another's must not get its connections.
func owner(own, host string, claims []Claim, comesFrom func(node string, addr netip.Addr) bool) string {
	if len(claims) < 2 {
		if len(claims) == 0 {
			return ""
		}
		return claims[0].Node
	}
	if slices.ContainsFunc(claims, func(c Claim) bool { return c.Node == own }) {
		return own
	}
	claims = slices.Clone(claims)
	slices.SortStableFunc(claims, func(a, b Claim) int { return a.Since.Compare(b.Since) })
	if addr, err := netip.ParseAddr(host); err == nil {
		for _, c := range claims {
			if comesFrom(c.Node, addr.Unmap()) {
				return c.Node
			}
		}
	}
	return claims[0].Node
}

// comesFrom tells whether one of a node's tunnels comes from an address.
func (s *Server) comesFrom(node string, addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.sessions[node], func(x *session) bool { return x.from == addr })
}
