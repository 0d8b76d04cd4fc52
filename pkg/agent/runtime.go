package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/client"

	"kedge/embedded/containerd"
	"kedge/embedded/payload"
	"kedge/pkg/config"
	"kedge/pkg/cri"
	"kedge/pkg/cri/registries"
	"kedge/pkg/durable"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/network/cni"
	"kedge/pkg/network/overlay"
	"kedge/pkg/node/machine"
)

// apiServicePort is the port of the kubernetes service.
const apiServicePort = 443

// unpack puts the programs that must be separate where containerd finds them.
func (a *Agent) unpack(context.Context) error {
	bin := a.Config.Layout.BinDir()
	if err := payload.Extract(bin); err != nil {
		return fmt.Errorf("unpack programs: %w", err)
	}
	// When containerd adopts the containers of a former process it looks for their shim by name, and the shim for runc.
	path := bin
	if former := os.Getenv("PATH"); former != "" {
		path += string(os.PathListSeparator) + former
	}
	if err := os.Setenv("PATH", path); err != nil {
		return fmt.Errorf("set PATH: %w", err)
	}
	return nil
}

func (a *Agent) registries() (lifecycle.Component, error) {
	return registries.New(registries.Options{
		File: a.Config.RegistriesFile, Dir: a.Config.Layout.RegistryHosts(), Log: logging.For(a.Log, "registries"),
	}), nil
}

func (a *Agent) containerd() (lifecycle.Component, error) {
	l := a.Config.Layout
	enabled, usable := machine.AppArmor()
	text := cri.Config(cri.Options{
		Layout:              l,
		Snapshotter:         a.snapshotter(),
		SystemdCgroup:       a.Facts.CgroupDriver == machine.DriverSystemd,
		RestrictOOMScoreAdj: a.Facts.RestrictOOMScoreAdj,
		DisableAppArmor:     !enabled || !usable,
	})
	file := filepath.Join(l.AgentConfig(), "containerd.toml")
	for _, dir := range []string{l.AgentConfig(), l.CNIConf()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create directory: %w", err)
		}
	}
	if err := durable.Replace(file, text); err != nil {
		return nil, err
	}
	return containerd.New(containerd.Config{File: file, Log: logging.For(a.Log, "containerd")}), nil
}

// client connects to the process's own containerd.
func (a *Agent) client() (*client.Client, error) {
	c, err := client.New(a.Config.Layout.ContainerdSocket(), client.WithDefaultNamespace(cri.Namespace))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	return c, nil
}

// podNetwork is kept, because the node's pod CIDRs are handed to it when they are known.
func (a *Agent) podNetwork() (lifecycle.Component, error) {
	c := a.Config
	vips, err := serviceVIPs(c)
	if err != nil {
		return nil, err
	}
	l := c.Layout
	network, err := cni.New(cni.Config{
		Socket: l.CNISocket(), StateDir: l.NetworkState(), ConfDir: l.CNIConf(),
		NodeIPs: c.NodeIPs, ClusterCIDRs: c.ClusterCIDRs, OverlayOverhead: overlay.Overhead(overlay.Backend(c.OverlayBackend), c.NodeIPs),
		ServiceVIPs: vips, LocalAddresses: a.ownAddresses(),
	}, logging.For(a.Log, "pod network"))
	if err != nil {
		return nil, fmt.Errorf("prepare pod network: %w", err)
	}
	a.network = network
	return network, nil
}

// serviceVIPs sends the kubernetes service to the API server of this machine, on an agent to the server that it joined.
func serviceVIPs(c *config.Config) ([]cni.ServiceVIP, error) {
	targets, port := c.NodeIPs, uint16(c.HTTPSListenPort)
	if c.Role == config.RoleAgent {
		server, err := url.Parse(c.Server)
		if err != nil {
			return nil, fmt.Errorf("parse --server: %w", err)
		}
		address, err := net.ResolveTCPAddr("tcp", server.Host)
		if err != nil {
			return nil, fmt.Errorf("look up --server: %w", err)
		}
		to := address.AddrPort()
		targets, port = []netip.Addr{to.Addr().Unmap()}, to.Port()
	}
	var vips []cni.ServiceVIP
	for _, service := range c.FirstServiceIPs() {
		i := slices.IndexFunc(targets, func(t netip.Addr) bool { return t.Is4() == service.Is4() })
		if i >= 0 {
			vips = append(vips, cni.ServiceVIP{
				Address: netip.AddrPortFrom(service, apiServicePort), Protocol: "tcp", Target: netip.AddrPortFrom(targets[i], port),
			})
		}
	}
	return vips, nil
}
