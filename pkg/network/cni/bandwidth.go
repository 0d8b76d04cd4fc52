package cni

import (
	"errors"
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/cni/wire"
)

const (
	minBurst   = 64 << 10 // bytes; one packet of segmentation offload
	burstParts = 50       // of a second's bytes: the burst is what is sent in 20 ms
	queueParts = 20       // of a second's bytes: packets wait up to 50 ms, then they are dropped
)

// shape limits the pod's bandwidth with token buckets (tc-tbf(8)): on the host's side what goes to the pod, on the pod's side
// what comes from it, where the sender waits instead of losing packets. A pod with NET_ADMIN can lift the latter.
func (n *Network) shape(a *attachment, target netns.NsHandle, limit wire.Bandwidth) error {
	if limit.IngressRate > 0 {
		if err := addBucket(n.links, a.HostLink, limit.IngressRate, limit.IngressBurst); err != nil {
			return fmt.Errorf("limit bandwidth to pod %s: %w", a.Pod, err)
		}
	}
	if limit.EgressRate > 0 {
		pod, err := netlink.NewHandleAt(target, unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink in %s: %w", a.Netns, err)
		}
		defer pod.Close()
		if err := addBucket(pod, a.IfName, limit.EgressRate, limit.EgressBurst); err != nil {
			return fmt.Errorf("limit bandwidth from pod %s: %w", a.Pod, err)
		}
	}
	return nil
}

func addBucket(links *netlink.Handle, name string, rateBits, burstBits uint64) error {
	link, err := links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	err = links.QdiscAdd(bucket(link.Attrs().Index, rateBits, burstBits))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("kernel has no token bucket filter (CONFIG_NET_SCH_TBF, module sch_tbf): remove the pod's bandwidth annotations or use another kernel: %w", err)
	}
	if err != nil {
		return fmt.Errorf("add token bucket filter to %s: %w", name, err)
	}
	return nil
}

func bucket(index int, rateBits, burstBits uint64) *netlink.Tbf {
	rate := max(rateBits/8, 1)
	burst := burstBits / 8
	if burst == 0 || burstBits >= math.MaxUint32 { // the runtime's way to say "none given"
		burst = max(rate/burstParts, minBurst)
	}
	burst = min(burst, math.MaxUint32)
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate,
		Limit:      uint32(min(burst+rate/queueParts, math.MaxUint32)),
		Buffer:     netlink.Xmittime(rate, uint32(burst)),
	}
}
