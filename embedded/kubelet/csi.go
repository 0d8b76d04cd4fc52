package kubelet

import (
	"errors"
	"fmt"
	"sync/atomic"

	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/csi"
)

// CSI keeps upstream's CSI plug-in in the kubelet's hands. The plug-in has package state, the node's name among it, which controllers
// of the same process take over when they are built: they know no node, and no driver could register from then on. Reclaim
// gives it back.
type CSI struct {
	host atomic.Pointer[hostOnly] // nil before the kubelet initializes its plug-ins
}

// Reclaim sets the package state again. It does nothing before the kubelet has set it.
func (c *CSI) Reclaim() error {
	host := c.host.Load()
	if host == nil {
		return nil
	}
	plugins := csi.ProbeVolumePlugins()
	if len(plugins) == 0 {
		return errors.New("initialize CSI again: upstream has no such plug-in any more")
	}
	if err := plugins[0].Init(host); err != nil {
		return fmt.Errorf("initialize CSI again: %w", err)
	}
	return nil
}

// watch puts an observer before the plug-ins, which learns of the host that they are initialized with before any of them does.
func (c *CSI) watch(plugins []volume.VolumePlugin) []volume.VolumePlugin {
	return append([]volume.VolumePlugin{&observer{csi: c}}, plugins...)
}

// hostOnly hides that a host is a kubelet's: a plug-in that is initialized with that reports the node as not ready until it has
// spoken to the API server, and ends the process when it cannot. All that has happened before.
type hostOnly struct{ volume.VolumeHost }

// observer is a volume plug-in that supports no volume.
type observer struct {
	volume.VolumePlugin // nil: nothing else is called for a plug-in that supports nothing
	csi                 *CSI
}

// Init is told which host the plug-ins get.
func (o *observer) Init(host volume.VolumeHost) error {
	o.csi.host.Store(&hostOnly{host})
	return nil
}

// GetPluginName is a name that no volume has.
func (o *observer) GetPluginName() string { return "kedge.io/observer" }

// CanSupport is always false.
func (o *observer) CanSupport(*volume.Spec) bool { return false }
