package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kedge/pkg/network/cni/wire"
)

// node is a Network that runs in the test's namespace.
type node struct {
	*Network
	stop func()
}

func testConfig(t testing.TB) Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "kcni") //nolint:usetesting // t.TempDir's names are too long for a socket
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return Config{
		Socket: filepath.Join(dir, "run", "cni.sock"), StateDir: filepath.Join(dir, "state"), ConfDir: filepath.Join(dir, "conf"),
		NodeIPs:         []netip.Addr{netip.MustParseAddr(nodeIP4), netip.MustParseAddr(nodeIP6)},
		ClusterCIDRs:    prefixes("10.42.0.0/16", "fd00:42::/56"),
		OverlayOverhead: 50,
		ServiceVIPs: []ServiceVIP{{
			Address: netip.MustParseAddrPort("10.43.0.1:443"), Target: netip.MustParseAddrPort(nodeIP4 + ":6443"),
		}},
		LocalAddresses: []netip.Addr{netip.MustParseAddr("10.43.0.10"), netip.MustParseAddr("fd00:43::a")},
	}
}

func (c Config) paths() Paths { return Paths{c.Socket, c.StateDir, c.ConfDir} }

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// start runs a Network until stop or the end of the test. It returns when the socket listens.
func start(t testing.TB, cfg Config) *node {
	t.Helper()
	n := must(New(cfg, testLog(t)))(t)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		t.Fatalf("pod network ended: %v", err)
	}
	var stopped bool
	stop := func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		select {
		case err := <-done:
			check(t, err)
		case <-time.After(5 * time.Second):
			t.Error("pod network does not stop")
		}
	}
	t.Cleanup(stop)
	return &node{n, stop}
}

// startDual is start with a pod CIDR of each family.
func startDual(t testing.TB, cfg Config) *node {
	t.Helper()
	n := start(t, cfg)
	check(t, n.SetPodCIDRs(prefixes("10.42.7.0/24", "fd00:42:0:7::/64")))
	return n
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// call asks over the socket, as kedge-cni does.
func (n *node) call(t testing.TB, command, id, netns string, rt wire.Runtime) wire.Response {
	t.Helper()
	conf := must(json.Marshal(wire.Conf{CNIVersion: wire.Version100, Name: networkName, Type: pluginName, Socket: n.cfg.Socket, Runtime: rt}))(t)
	return n.send(t, wire.Request{
		Command: command, ContainerID: id, Netns: netns, IfName: "eth0", Config: conf,
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + id,
	})
}

func (n *node) send(t testing.TB, request wire.Request) wire.Response {
	t.Helper()
	conn := must(net.Dial("unix", n.cfg.Socket))(t)
	defer func() { _ = conn.Close() }()
	check(t, json.NewEncoder(conn).Encode(request))
	check(t, conn.(*net.UnixConn).CloseWrite())
	var response wire.Response
	if err := json.NewDecoder(conn).Decode(&response); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return response
}

// pod is a namespace that went through ADD.
type pod struct {
	*space
	id     string
	ip4    string
	ip6    string
	result wire.Result
}

// addPod makes a pod that answers on port 8080.
func (n *node) addPod(t testing.TB, id string, rt wire.Runtime) *pod {
	t.Helper()
	p := &pod{space: newSpace(t), id: id}
	response := n.call(t, "ADD", id, p.path, rt)
	if response.Error != nil {
		t.Fatalf("ADD %s: %v", id, response.Error)
	}
	check(t, json.Unmarshal(response.Result, &p.result))
	for _, ip := range p.result.IPs {
		if ip.Address.Addr().Is4() {
			p.ip4 = ip.Address.Addr().String()
		} else {
			p.ip6 = ip.Address.Addr().String()
		}
	}
	p.serveWho(t, ":8080")
	return p
}

func (n *node) delPod(t testing.TB, p *pod) {
	t.Helper()
	if response := n.call(t, "DEL", p.id, p.path, wire.Runtime{}); response.Error != nil {
		t.Fatalf("DEL %s: %v", p.id, response.Error)
	}
}

func ports(mappings ...string) wire.Runtime {
	var rt wire.Runtime
	for _, m := range mappings {
		var p wire.PortMapping
		if _, err := fmt.Sscanf(m, "%s %d %d %s", &p.Protocol, &p.HostPort, &p.ContainerPort, &p.HostIP); err != nil && p.ContainerPort == 0 {
			panic(err)
		}
		rt.PortMappings = append(rt.PortMappings, p)
	}
	return rt
}
