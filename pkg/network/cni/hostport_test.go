package cni

import (
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"kedge/pkg/network/cni/wire"
	"kedge/pkg/network/nft"
)

// TestUDPClient: a client that keeps its port reaches a host port as soon as it is there, and its successor when the pod is replaced.
func TestUDPClient(t *testing.T) {
	if !inNode(t) {
		return
	}
	out := newOutside(t)
	n := startDual(t, testConfig(t))
	for _, address := range []string{nodeIP4, "[" + nodeIP6 + "]"} {
		client := must(out.dial(t, "udp", address+":30080"))(t)
		expect(t, askOn(client), "") // there is an entry without translation now
		for _, id := range []string{"first", "second"} {
			p := n.addPod(t, id, ports("udp 30080 8080"))
			expect(t, strings.HasPrefix(askOn(client), strings.Trim(client.LocalAddr().(*net.UDPAddr).IP.String(), "[]")), true)
			n.delPod(t, p)
			expect(t, askOn(client), "")
		}
		check(t, client.Close())
	}
}

// TestTakeOver: the newer of two pods has the host port, and the older's end does not take it away.
func TestTakeOver(t *testing.T) {
	if !inNode(t) {
		return
	}
	out := newOutside(t)
	cfg := testConfig(t)
	n := startDual(t, cfg)
	older := n.addPod(t, "older", ports("tcp 30080 8081"))
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), "")
	newer := n.addPod(t, "newer", ports("tcp 30080 8080"))
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), outsideIP4)
	n.stop()
	n = start(t, cfg)
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), outsideIP4)
	n.delPod(t, older)
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), outsideIP4)
	n.delPod(t, newer)
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), "")
}

// TestFlushedRules: when somebody empties nftables, the next pod with a host port brings everything back.
func TestFlushedRules(t *testing.T) {
	if !inNode(t) {
		return
	}
	out := newOutside(t)
	n := startDual(t, testConfig(t))
	a := n.addPod(t, "a", ports("tcp 30080 8080"))
	conn := must(nftables.New())(t)
	check(t, nft.DeleteTable(conn))
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), "")
	n.addPod(t, "b", ports("tcp 31080 8080"))
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), outsideIP4)
	check(t, nft.DeleteTable(conn))
	n.delPod(t, a)
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), "")
	expect(t, out.ask(t, "tcp", nodeIP4+":31080"), outsideIP4)
}

// TestManyPorts: more elements than one message holds, written anew after a restart.
func TestManyPorts(t *testing.T) {
	if !inNode(t) {
		return
	}
	out := newOutside(t)
	cfg := testConfig(t)
	n := startDual(t, cfg)
	var mappings []string
	for port := 20000; port < 21000; port++ {
		mappings = append(mappings, fmt.Sprintf("tcp %d 8080", port))
	}
	p := n.addPod(t, "a", ports(mappings...))
	n.stop()
	n = start(t, cfg)
	for _, port := range []int{20000, 20500, 20999} {
		expect(t, out.ask(t, "tcp", fmt.Sprintf("%s:%d", nodeIP4, port)), outsideIP4)
	}
	n.delPod(t, p)
	expect(t, out.ask(t, "tcp", nodeIP4+":20999"), "")
}

// TestBandwidth: a pod sends and receives at about the rate that it was given.
func TestBandwidth(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	n := startDual(t, testConfig(t))
	const rate = 8e6 // 1 MB/s
	slow := n.addPod(t, "slow", wire.Runtime{Bandwidth: wire.Bandwidth{IngressRate: rate, EgressRate: rate, EgressBurst: math.MaxUint32}})
	fast := n.addPod(t, "fast", wire.Runtime{})
	for name, way := range map[string][2]*pod{"from": {slow, fast}, "to": {fast, slow}} {
		seconds := transfer(t, way[0], way[1], 512<<10).Seconds()
		if seconds < 0.3 || seconds > 2 { // 0.45 without the burst
			t.Errorf("512 KiB %s the pod at 1 MB/s take %.2f s", name, seconds)
		}
	}
	expect(t, bucket(1, rate, 0).Limit, bucket(1, rate, math.MaxUint32).Limit)
	link := must(n.links.LinkByName(hostLinkName("slow", "eth0")))(t)
	expect(t, must(n.links.QdiscList(link))(t)[0].(*netlink.Tbf).Rate, uint64(rate/8))
}

// transfer sends bytes from one pod to another and says how long it takes until the last has come.
func transfer(t *testing.T, from, to *pod, size int) time.Duration {
	t.Helper()
	var listener net.Listener
	to.do(t, func() { listener = must(net.Listen("tcp", to.ip4+":0"))(t) })
	defer func() { _ = listener.Close() }()
	conn := must(from.dial(t, "tcp", listener.Addr().String()))(t)
	defer func() { _ = conn.Close() }()
	begin := time.Now()
	go func() { _, _ = conn.Write(make([]byte, size)) }()
	peer := must(listener.Accept())(t)
	defer func() { _ = peer.Close() }()
	for buffer, total := make([]byte, 64<<10), 0; total < size; {
		n, err := peer.Read(buffer)
		check(t, err)
		total += n
	}
	return time.Since(begin)
}
