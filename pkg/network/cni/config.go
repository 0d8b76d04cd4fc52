package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
)

// maxSocketPath is what the kernel allows for the path of a Unix socket (unix(7)), without the final zero.
const maxSocketPath = 107

// Config says where the pod network keeps its files and how the cluster is laid out. It is not changed after New.
type Config struct {
	Socket   string // required: where kedge-cni asks; created with mode 0600
	StateDir string // required: addresses in use, remembered across restarts and power cuts
	ConfDir  string // required: where the container runtime looks for its network configuration

	NodeIPs         []netip.Addr   // required: the MTU of pods is that of the link which carries the first of them
	ClusterCIDRs    []netip.Prefix // required: traffic of pods to other places is masqueraded
	OverlayOverhead int            // optional: bytes that the overlay adds to a packet (50 for VXLAN)

	// ServiceVIPs sends service addresses to addresses of nodes, until WithdrawServiceVIPs. They are added to lo.
	ServiceVIPs []ServiceVIP // optional
	// LocalAddresses are added to lo, for what the process serves itself (the cluster DNS).
	LocalAddresses []netip.Addr // optional
}

// ServiceVIP is a service address with the address that answers for it.
type ServiceVIP struct {
	Address  netip.AddrPort
	Protocol string // tcp, udp or sctp; empty is tcp
	Target   netip.AddrPort
}

func (c Config) validate() error {
	var errs []error
	for name, path := range map[string]string{"socket": c.Socket, "state directory": c.StateDir, "configuration directory": c.ConfDir} {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("pod network: %s %q is not an absolute path", name, path))
		}
	}
	if len(c.Socket) > maxSocketPath {
		errs = append(errs, fmt.Errorf("pod network: socket path %s has %d bytes, the kernel allows %d: choose a shorter --data-dir", c.Socket, len(c.Socket), maxSocketPath))
	}
	if len(c.NodeIPs) == 0 || len(c.ClusterCIDRs) == 0 {
		errs = append(errs, errors.New("pod network: node address and cluster CIDR are needed: set --node-ip and --cluster-cidr"))
	}
	for _, v := range c.ServiceVIPs {
		if _, err := protocolNumber(v.Protocol); err != nil {
			errs = append(errs, fmt.Errorf("pod network: service address %s: %w", v.Address, err))
		}
		if v.Address.Addr().Is4() != v.Target.Addr().Is4() {
			errs = append(errs, fmt.Errorf("pod network: service address %s and its target %s are of different families", v.Address, v.Target))
		}
	}
	return errors.Join(errs...)
}

// ownAddresses are those that kedge adds to lo.
func (n *Network) ownAddresses() []netip.Addr {
	var own []netip.Addr
	seen := map[netip.Addr]bool{}
	add := func(a netip.Addr) {
		if a.Is6() && !n.ipv6 {
			n.log.Warn("kernel has no IPv6: leaving out the address", "address", a)
		} else if !seen[a] {
			seen[a] = true
			own = append(own, a)
		}
	}
	for _, v := range n.vips {
		add(v.Address.Addr())
	}
	for _, a := range n.cfg.LocalAddresses {
		add(a)
	}
	return own
}
