package cni

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"kedge/pkg/network/cni/wire"
)

// Names in the network configuration: the network's, the file's (the runtime takes the first by name), the plugin's.
const (
	networkName = "kedge"
	confName    = "10-kedge.conflist"
	pluginName  = "kedge-cni"
)

// conflist is the CNI network configuration list. It asks for version 1.0.0 though kedge-cni speaks 1.1.0 as well: with 1.1.0
// the runtime would start kedge-cni every few seconds for STATUS, to learn what the presence of the file says already.
type conflist struct {
	CNIVersion string   `json:"cniVersion"`
	Name       string   `json:"name"`
	Plugins    []plugin `json:"plugins"`
}

type plugin struct {
	Type         string          `json:"type"`
	Socket       string          `json:"socket"`
	Capabilities map[string]bool `json:"capabilities"`
}

func (c Config) confFile() string { return filepath.Join(c.ConfDir, confName) }

// publishConf tells the runtime that pods can be made.
func (n *Network) publishConf() error {
	raw, err := json.MarshalIndent(conflist{
		CNIVersion: wire.Version100, Name: networkName,
		Plugins: []plugin{{
			Type: pluginName, Socket: n.cfg.Socket,
			Capabilities: map[string]bool{"portMappings": true, "bandwidth": true, "ips": true, "mac": true},
		}},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode CNI configuration: %w", err)
	}
	if err := writeFile(n.cfg.confFile(), append(raw, '\n')); err != nil {
		return fmt.Errorf("write CNI configuration: %w", err)
	}
	return nil
}

// withdrawConf tells the runtime that pods cannot be made yet.
func (n *Network) withdrawConf() error {
	if err := removeFile(n.cfg.confFile()); err != nil {
		return fmt.Errorf("remove CNI configuration: %w", err)
	}
	return nil
}
