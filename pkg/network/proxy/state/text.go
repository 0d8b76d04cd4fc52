package state

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Equal tells whether two wishes are the same. Nil is equal to nil only.
func (s *Service) Equal(o *Service) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.Key == o.Key && s.Protocol == o.Protocol && s.Affinity == o.Affinity && s.Scheduler == o.Scheduler &&
		s.Endpoints == o.Endpoints && slices.Equal(s.Cluster, o.Cluster) && slices.Equal(s.Local, o.Local) &&
		slices.EqualFunc(s.Frontends, o.Frontends, Frontend.equal)
}

func (f Frontend) equal(o Frontend) bool {
	return f.Address == o.Address && f.Port == o.Port && f.Kind == o.Kind && f.Inside == o.Inside && f.Outside == o.Outside &&
		f.KeepSource == o.KeepSource && slices.Equal(f.Sources, o.Sources)
}

// String is the wish as a few lines of text, equal for equal wishes.
func (s *Service) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", s.Key, protocolName(s.Protocol))
	if s.Affinity > 0 {
		fmt.Fprintf(&b, " affinity %s", s.Affinity)
	}
	if s.Scheduler != "" {
		fmt.Fprintf(&b, " scheduler %s", s.Scheduler)
	}
	if !s.Endpoints {
		b.WriteString(" no endpoints")
	}
	b.WriteString("\n")
	for _, f := range s.Frontends {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	writePool(&b, Cluster, s.Cluster)
	writePool(&b, Local, s.Local)
	return b.String()
}

func writePool(b *strings.Builder, p Pool, endpoints []Endpoint) {
	if len(endpoints) == 0 {
		return
	}
	fmt.Fprintf(b, "  %s:", p)
	for _, e := range endpoints {
		fmt.Fprintf(b, " %s", e.AddrPort)
		if e.Local {
			b.WriteString("(here)")
		}
	}
	b.WriteString("\n")
}

// String is the frontend in one line.
func (f Frontend) String() string {
	address := "*"
	if f.Address.IsValid() {
		address = f.Address.String()
		if f.Address.Is6() {
			address = "[" + address + "]"
		}
	}
	text := fmt.Sprintf("%s %s:%d -> %s", f.Kind, address, f.Port, f.Inside)
	if f.Outside != f.Inside {
		text += fmt.Sprintf(", from outside %s", f.Outside)
	}
	if f.KeepSource {
		text += ", keeps source"
	}
	if len(f.Sources) > 0 {
		text += fmt.Sprintf(", only from %v", f.Sources)
	}
	return text
}

// String names the key as namespace/name:port, with the family.
func (k Key) String() string {
	if k.V6 {
		return k.ServicePortName.String() + " IPv6"
	}
	return k.ServicePortName.String() + " IPv4"
}

// String is the kind as Kubernetes spells it.
func (k Kind) String() string {
	return [...]string{ClusterIP: "ClusterIP", ExternalIP: "ExternalIP", LoadBalancer: "LoadBalancer", NodePort: "NodePort"}[k]
}

// String is the name of the traffic policy.
func (p Pool) String() string { return [...]string{Cluster: "cluster", Local: "local"}[p] }

func protocolName(number uint8) string {
	switch number {
	case unix.IPPROTO_UDP:
		return "UDP"
	case unix.IPPROTO_SCTP:
		return "SCTP"
	default:
		return "TCP"
	}
}
