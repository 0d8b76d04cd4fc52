package agent

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/network/overlay"
)

// overlay connects the pods of this node with those of others. It is ready when the nodes that are known are reached.
func (a *Agent) overlay() lifecycle.Component {
	return lifecycle.Func("overlay", func(ctx context.Context, ready func()) error {
		o, err := overlay.New(overlay.Config{
			Backend: overlay.Backend(a.Config.OverlayBackend), NodeName: a.Config.NodeName, NodeIPs: a.Config.NodeIPs,
		}, logging.For(a.Log, "overlay"))
		if err != nil {
			return fmt.Errorf("prepare overlay: %w", err)
		}
		ctx, cancel := context.WithCancel(ctx)
		fed := make(chan error, 1)
		go func() {
			err := a.feed(ctx, o)
			if err != nil {
				cancel()
			}
			fed <- err
		}()
		err = o.Run(ctx, ready)
		cancel()
		if failed := <-fed; failed != nil {
			return failed
		}
		return err
	})
}

// feed tells the overlay of all nodes until ctx ends.
func (a *Agent) feed(ctx context.Context, o *overlay.Overlay) error {
	shared, err := a.informers()
	if err != nil {
		return err
	}
	set := func(obj any) {
		object, ok := obj.(*corev1.Node)
		if !ok {
			return
		}
		n, err := overlay.FromNode(object)
		if err != nil {
			a.Log.Warn("node cannot be reached by the overlay", "node", object.Name, "error", err)
			return
		}
		o.SetNode(n)
	}
	handler, err := shared.nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: func(obj any) {
			if name, err := cache.DeletionHandlingObjectToName(obj); err == nil {
				o.RemoveNode(name.Name)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("follow nodes: %w", err)
	}
	defer shared.nodes.RemoveEventHandler(handler) //nolint:errcheck // fails for handlers of other informers only
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		return nil
	}
	o.Complete()
	<-ctx.Done()
	return nil
}
