package ipvs

import (
	"hash/fnv"

	"kedge/pkg/network/proxy/state"
)

// Bits of the packet mark. Other tools' bits are left alone but for connections that a firewall mark diverts: IPVS compares
// the whole mark. Known users of others: kube-proxy 0xc000, Calico 0xffff0000, Tailscale 0xff0000, Istio 0x539.
const (
	markSeen       uint32 = 0x0100 // a new connection to a service that was decided about
	markRefuse     uint32 = 0x0200 // the node's own, to be refused
	markDrop       uint32 = 0x0400 // the node's own, to be dropped
	markRoute      uint32 = 0x0800 // to a service address that the node does not have: to be delivered to the node
	markPassing    uint32 = 0x1000 // replace the source if the endpoint is elsewhere
	markMasquerade uint32 = 0x2000 // replace the source
	markShift             = 14     // from here on the number of a service whose connections from outside have a virtual server of their own
	markNumbers    uint32 = 1 << (32 - markShift)
)

// markOf is the firewall mark of a frontend's connections from outside. It says all that the rules after IPVS have to know.
func markOf(id uint32, f state.Frontend) uint32 {
	mark := id<<markShift | markRoute
	if !f.KeepSource {
		mark |= markMasquerade
	}
	return mark
}

// marks gives services their numbers. They depend on the service's name, and on what the kernel holds when kedge starts, so
// that a restart changes none: a changed mark would break connections.
type marks struct {
	ids   map[state.Key]uint32
	taken map[uint32]bool
	found map[entry]uint32 // marks that the kernel had at the start
}

func newMarks() *marks { return &marks{ids: map[state.Key]uint32{}, taken: map[uint32]bool{}} }

func (m *marks) id(key state.Key, entries []entry) uint32 {
	if id, ok := m.ids[key]; ok {
		return id
	}
	id := m.free(key)
	for _, e := range entries {
		if known := m.found[e] >> markShift; known != 0 && !m.taken[known] {
			id = known
			break
		}
	}
	m.ids[key], m.taken[id] = id, true
	return id
}

func (m *marks) free(key state.Key) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key.String())) // never fails
	if key.V6 {
		_, _ = h.Write([]byte{6})
	}
	id := h.Sum32() >> markShift
	for id == 0 || m.taken[id] {
		id = (id + 1) % markNumbers
	}
	return id
}

// release frees the number of a service that is gone.
func (m *marks) release(key state.Key) {
	delete(m.taken, m.ids[key])
	delete(m.ids, key)
}
