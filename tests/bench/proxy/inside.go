package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"kedge/tests/netns/api"
	"kedge/tests/netns/space"
)

// result is what was measured.
type result map[figure]float64

// bench is one measurement in its network namespace.
type bench struct {
	plan
	store   *api.Server
	server  string // the API server's address
	client  *space.Space
	subject *process
	result  result
}

func measureInside(ctx context.Context, text string) error {
	b := &bench{store: api.NewServer(), result: result{}}
	if err := json.Unmarshal([]byte(text), &b.plan); err != nil {
		return fmt.Errorf("read plan: %w", err)
	}
	if err := b.build(); err != nil {
		return fmt.Errorf("build network: %w", err)
	}
	b.populate(b.store)
	if err := b.store.Warm(); err != nil {
		return err
	}
	url, stop, err := b.store.Listen()
	if err != nil {
		return err
	}
	defer stop()
	b.server = url
	if err := b.measure(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(b.result)
}

// build makes the network of the node, which is the namespace of the process.
func (b *bench) build() error {
	node, err := space.Process()
	if err != nil {
		return err
	}
	if err := node.Set("ipv4.ip_forward", "1"); err != nil {
		return err
	}
	peer, err := space.New()
	if err != nil {
		return err
	}
	up := netip.MustParsePrefix(nodeIP + "/24")
	err = space.Join(
		space.End{Space: node, Name: "eth0", Addresses: []netip.Prefix{up}},
		space.End{Space: peer, Name: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(nodePeerIP), up.Bits())}},
	)
	if err != nil {
		return err
	}
	if err := node.Route(netip.MustParsePrefix("0.0.0.0/0"), "eth0", netip.MustParseAddr(nodePeerIP)); err != nil {
		return err
	}
	if b.client, err = space.NewPod(node, "client", netip.MustParseAddr(clientIP)); err != nil {
		return err
	}
	answerer := netip.MustParseAddr(answererIP)
	pods, err := space.NewPod(node, "pods", answerer)
	if err != nil {
		return err
	}
	if err := pods.Own(netip.MustParsePrefix(answeredCIDR)); err != nil {
		return err
	}
	if err := node.Route(netip.MustParsePrefix(answeredCIDR), "pods", answerer); err != nil {
		return err
	}
	return serve(pods)
}
