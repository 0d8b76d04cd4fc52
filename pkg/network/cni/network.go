package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network is the pod network of this node. It is a lifecycle component that runs once.
type Network struct {
	cfg   Config
	log   *slog.Logger
	store store
	links *netlink.Handle
	fw    *firewall
	locks keyLocks
	ipv6  bool

	adoptOnce  sync.Once
	adoptErr   error
	sysctlOnce sync.Once

	program sync.Mutex   // held while the node's part of the network is set up; guards the next
	vips    []ServiceVIP // until they are withdrawn

	mu       sync.Mutex // guards the rest
	podCIDRs []netip.Prefix
	pools    []*pool // none until the pod CIDRs are known and the node's part is set up
	mtu      int
	serving  bool
	attached map[string]*attachment
	sequence uint64
}

// New checks the configuration and opens netlink; it changes nothing.
func New(cfg Config, log *slog.Logger) (*Network, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink for the pod network: %w", err)
	}
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables for the pod network: %w", err)
	}
	return &Network{
		cfg: cfg, log: log, links: links, ipv6: hasIPv6(), vips: cfg.ServiceVIPs,
		store:    store{cfg.StateDir},
		fw:       &firewall{conn: conn, log: log, owners: map[string]owned{}},
		attached: map[string]*attachment{},
	}, nil
}

// Name implements lifecycle.Component.
func (n *Network) Name() string { return "pod network" }

// Run serves kedge-cni until ctx ends. It is ready when the socket listens. With pod CIDRs from a former run pods can be
// made at once; otherwise from SetPodCIDRs on. When it ends pods keep their network.
func (n *Network) Run(ctx context.Context, ready func()) error {
	defer n.links.Close()
	if err := n.adopt(); err != nil {
		return err
	}
	if err := n.restore(); err != nil {
		return err
	}
	return n.serve(ctx, ready)
}

// SetPodCIDRs says from which CIDRs (at most one of each family) pods of this node get their addresses. It sets up the node's
// part of the network and lets the runtime start pods. It may be called again, also with others: existing pods keep their addresses.
func (n *Network) SetPodCIDRs(cidrs []netip.Prefix) error {
	if err := n.adopt(); err != nil {
		return err
	}
	usable, err := n.usable(cidrs)
	if err != nil {
		return err
	}
	n.program.Lock()
	defer n.program.Unlock()
	if n.configured(usable) {
		return nil
	}
	return n.setUp(usable)
}

// WithdrawServiceVIPs ends serving the addresses of Config.ServiceVIPs, because the service proxy does now. Connections through them go on.
func (n *Network) WithdrawServiceVIPs() error {
	n.program.Lock()
	defer n.program.Unlock()
	if len(n.vips) == 0 {
		return nil
	}
	n.vips = nil
	if !n.configured(nil) {
		return nil
	}
	n.mu.Lock()
	cidrs := n.podCIDRs
	n.mu.Unlock()
	return n.write(cidrs)
}

// restore sets up the network of the former run, if it is known.
func (n *Network) restore() error {
	n.program.Lock()
	defer n.program.Unlock()
	if n.configured(nil) {
		return nil // SetPodCIDRs came first
	}
	former, err := n.store.recall()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("forgot the node's pod CIDRs: waiting for the API server", "error", err)
	}
	if len(former.PodCIDRs) == 0 {
		return n.withdrawConf()
	}
	usable, err := n.usable(former.PodCIDRs)
	if err != nil {
		return err
	}
	return n.setUp(usable)
}

// configured tells whether the network is set up: with these CIDRs, or with any if there are none.
func (n *Network) configured(cidrs []netip.Prefix) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.pools) > 0 && (len(cidrs) == 0 || slices.Equal(n.podCIDRs, cidrs))
}

// usable checks the CIDRs and leaves those of IPv6 out when the kernel has none.
func (n *Network) usable(cidrs []netip.Prefix) ([]netip.Prefix, error) {
	var usable []netip.Prefix
	for _, c := range cidrs {
		if c.Addr().Is6() && !n.ipv6 {
			n.log.Warn("kernel has no IPv6: pods get no address of the pod CIDR", "cidr", c)
			continue
		}
		if slices.ContainsFunc(usable, func(u netip.Prefix) bool { return u.Addr().Is6() == c.Addr().Is6() }) {
			return nil, fmt.Errorf("node has two pod CIDRs of one family: %v", cidrs)
		}
		if _, err := newPool(c); err != nil {
			return nil, err
		}
		usable = append(usable, c.Masked())
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("node has no pod CIDR that can be used: %v", cidrs)
	}
	return usable, nil
}
