package kubelet

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/csi"
)

// CSI keeps upstream's CSI plug-in in the kubelet's hands. The plug-in has package state, the node's name among it, which controllers
// of the same process take over when they are built: they know no node, and no driver could register from then on. Reclaim
// gives it back.
type CSI struct {
	host atomic.Pointer[volume.VolumeHost] // nil before the kubelet initializes its plug-ins
}

// Reclaim sets the package state again. It does nothing before the kubelet has set it.
func (c *CSI) Reclaim() error {
	host := c.host.Load()
	if host == nil {
		return nil
	}
	kubelet, ok := (*host).(volume.KubeletVolumeHost)
	plugins := csi.ProbeVolumePlugins()
	if !ok || len(plugins) != 1 {
		return fmt.Errorf("initialize CSI again: found %d plug-ins, and a host of type %T", len(plugins), *host)
	}
	// Another plug-in than the kubelet's own, which is in use.
	if err := plugins[0].Init(&reclaimer{VolumeHost: *host, KubeletVolumeHost: kubelet, csi: c}); err != nil {
		return fmt.Errorf("initialize CSI again: %w", err)
	}
	return nil
}

// watch puts an observer before the plug-ins, which learns of the host that they are initialized with before any of them does.
func (c *CSI) watch(plugins []volume.VolumePlugin) []volume.VolumePlugin {
	return append([]volume.VolumePlugin{&observer{csi: c}}, plugins...)
}

// reclaimerPatience is how many errors a plug-in may report before it is stopped; with two more it would end the process.
const reclaimerPatience = 5

// reclaimer is the kubelet's host for another initialization. The plug-in reports what hinders it, the first time before it has tried, and
// the kubelet would take the node for not ready.
type reclaimer struct {
	volume.VolumeHost
	volume.KubeletVolumeHost
	csi    *CSI
	errors atomic.Int32
}

var (
	_ volume.VolumeHost        = (*reclaimer)(nil)
	_ volume.KubeletVolumeHost = (*reclaimer)(nil)
)

// SetKubeletError begins anew when the plug-in is about to give up. It is called from the plug-in's own goroutine then.
func (r *reclaimer) SetKubeletError(err error) {
	if err == nil || r.errors.Add(1) <= reclaimerPatience {
		return
	}
	go func() { _ = r.csi.Reclaim() }() // has succeeded so far before
	runtime.Goexit()
}

// observer is a volume plug-in that supports no volume.
type observer struct {
	volume.VolumePlugin // nil: nothing else is called for a plug-in that supports nothing
	csi                 *CSI
}

// Init is told which host the plug-ins get.
func (o *observer) Init(host volume.VolumeHost) error {
	if host == nil {
		return errors.New("initialize without a host")
	}
	o.csi.host.Store(&host)
	return nil
}

// GetPluginName is a name that no volume has.
func (o *observer) GetPluginName() string { return "kedge.io/observer" }

// CanSupport is always false.
func (o *observer) CanSupport(*volume.Spec) bool { return false }
