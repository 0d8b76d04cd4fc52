package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics"

	"kedge/pkg/network/proxy"
	"kedge/pkg/network/proxy/ipvs"
	"kedge/pkg/network/proxy/nftables"
	"kedge/pkg/network/proxy/state"
)

// beProxy is kedge's service proxy as a process of its own, with a client and informers that serve nobody else.
func beProxy(ctx context.Context, mode, server string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeProtobuf}})
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	p, err := proxy.New(proxy.Options{
		Node: state.Node{
			Name: nodeName, ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix(podCIDR)}, ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix(serviceCIDR)},
			Addresses: []netip.Addr{netip.MustParseAddr(nodeIP)},
		},
		Services: factory.Core().V1().Services().Informer(), Slices: factory.Discovery().V1().EndpointSlices().Informer(),
		Nodes: factory.Core().V1().Nodes().Informer(), Open: func() (state.Backend, error) { return open(mode, log) },
		Register: func(...metrics.Registerable) error { return nil }, Log: log,
	})
	if err != nil {
		return fmt.Errorf("make proxy: %w", err)
	}
	factory.Start(ctx.Done())
	return p.Run(ctx, func() {})
}

func open(mode string, log *slog.Logger) (state.Backend, error) {
	switch mode {
	case "nftables":
		return nftables.New(nftables.Options{Log: log})
	case "ipvs":
		return ipvs.New(ipvs.Options{Log: log})
	}
	return nil, fmt.Errorf("kedge has no proxy mode %q", mode)
}
