package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/network/proxy"
	"kedge/pkg/network/proxy/ipvs"
	"kedge/pkg/network/proxy/nftables"
	"kedge/pkg/network/proxy/state"
)

// The values of --proxy-mode.
const (
	proxyAuto     = "auto"
	proxyIPVS     = "ipvs"
	proxyNFTables = "nftables"
	proxyNone     = "none"
)

// services is the proxy of service addresses, or what takes a former one away.
func (a *Agent) services() lifecycle.Component {
	return lifecycle.Func("service proxy", func(ctx context.Context, ready func()) error {
		log := logging.For(a.Log, "service proxy")
		mode, reason, err := chooseProxy(a.Config.ProxyMode, ipvs.Available)
		if err != nil {
			return err
		}
		a.Recorder.SetProxy(mode, reason)
		log.Info("service addresses are served", "with", mode, "reason", reason)
		if mode == proxyNone {
			ready()
			return cleanUntilDone(ctx, log)
		}
		p, err := a.proxy(mode, log)
		if err != nil {
			return err
		}
		return p.Run(ctx, ready)
	})
}

// chooseProxy decides about the mode and says why.
func chooseProxy(asked string, available func() error) (mode, reason string, err error) {
	if asked == proxyNone || asked == proxyNFTables {
		return asked, "--proxy-mode says so", nil
	}
	lacking := available()
	switch {
	case lacking == nil && asked == proxyIPVS:
		return proxyIPVS, "--proxy-mode says so", nil
	case lacking == nil:
		return proxyIPVS, "the kernel has IPVS", nil
	case asked == proxyAuto:
		return proxyNFTables, "the kernel has no IPVS", nil
	}
	return "", "", fmt.Errorf("serve services with IPVS, as --proxy-mode says (auto takes nftables instead): %w", lacking)
}

func (a *Agent) proxy(mode string, log *slog.Logger) (*proxy.Proxy, error) {
	shared, err := a.informers()
	if err != nil {
		return nil, err
	}
	c := a.Config
	return proxy.New(proxy.Options{
		Node:     state.Node{Name: c.NodeName, ClusterCIDRs: c.ClusterCIDRs, ServiceCIDRs: c.ServiceCIDRs, Addresses: c.NodeIPs, Own: a.ownAddresses()},
		Services: shared.services, Slices: shared.slices, Nodes: shared.nodes,
		NodePortAddresses: c.NodePortAddresses,
		Open: func() (state.Backend, error) {
			if mode == proxyIPVS {
				return ipvs.New(ipvs.Options{Log: log, Scheduler: c.ProxyScheduler})
			}
			return nftables.New(nftables.Options{Log: log})
		},
		Served: func() error {
			return errors.Join(cleanProxies(mode), a.network.WithdrawServiceVIPs())
		},
		Register: func(all ...metrics.Registerable) error {
			for _, m := range all {
				if err := legacyregistry.Register(m); err != nil {
					return err
				}
			}
			return nil
		},
		Log: log,
	})
}

// ownAddresses are service addresses that the process itself answers on, as the cluster's DNS.
func (a *Agent) ownAddresses() []netip.Addr {
	if a.Config.Disabled("coredns") {
		return nil
	}
	return a.Config.ClusterDNS
}

// cleanUntilDone takes away what proxies have left, and waits for the end of ctx.
func cleanUntilDone(ctx context.Context, log *slog.Logger) error {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Steps: 6, Cap: time.Minute}
	_ = backoff.DelayFunc().Until(ctx, true, false, func(context.Context) (bool, error) { // ends when ctx does
		err := cleanProxies(proxyNone)
		if err != nil {
			log.Warn("the kernel still serves services as a former start left them: trying again", "error", err)
		}
		return err == nil, nil
	})
	<-ctx.Done()
	return nil
}

// cleanProxies takes away what proxies of other modes have left in the kernel.
func cleanProxies(mode string) error {
	var errs []error
	if mode != proxyIPVS {
		errs = append(errs, ipvs.Clean())
	}
	if mode != proxyNFTables {
		errs = append(errs, nftables.Clean())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take away the service proxy of a former start: %w", err)
	}
	return nil
}
