package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/datastore"
	"kedge/pkg/lifecycle"
)

// pruneInterval is the pause before a member is looked at again that cannot be removed yet.
const pruneInterval = 5 * time.Second

// prune removes the members of the datastore whose Nodes are deleted. It runs on every server, because the one that led may be the
// one whose Node is deleted, and watches nothing while there is one.
func (s *server) prune() lifecycle.Component {
	return lifecycle.Func("members of deleted nodes", func(ctx context.Context, ready func()) error {
		ready()
		select {
		case <-ctx.Done():
			return nil
		case <-s.state.Many():
		}
		events, stopped, err := s.watchNodeNames(ctx)
		if err != nil {
			return err
		}
		defer func() { <-stopped }()
		s.pruneMembers(ctx, events)
		return nil
	})
}

// nodeEvent tells that a Node is there, or has been deleted.
type nodeEvent struct {
	name    string
	deleted bool
}

// watchNodeNames follows the names of all nodes until ctx ends, and closes stopped then.
func (s *server) watchNodeNames(ctx context.Context) (<-chan nodeEvent, <-chan struct{}, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", s.cfg.WriteKubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("load administrator's credentials: %w", err)
	}
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("create client: %w", err)
	}
	nodes := client.Resource(corev1.SchemeGroupVersion.WithResource("nodes"))
	events := make(chan nodeEvent)
	send := func(obj any, deleted bool) {
		name, err := cache.DeletionHandlingObjectToName(obj)
		if err != nil {
			return
		}
		select {
		case events <- nodeEvent{name.Name, deleted}:
		case <-ctx.Done():
		}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) },
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return nodes.Watch(ctx, o)
			},
		},
		ObjectType: &metav1.PartialObjectMetadata{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { send(obj, false) }, DeleteFunc: func(obj any) { send(obj, true) },
		},
		Transform: func(obj any) (any, error) {
			if m, ok := obj.(*metav1.PartialObjectMetadata); ok {
				m.ManagedFields, m.Labels, m.Annotations = nil, nil, nil
			}
			return obj, nil
		},
	})
	stopped := make(chan struct{})
	go func() { defer close(stopped); informer.RunWithContext(ctx) }()
	return events, stopped, nil
}

// pruneMembers keeps the names of deleted nodes until their members are gone, or the nodes are back.
func (s *server) pruneMembers(ctx context.Context, events <-chan nodeEvent) {
	pending := map[string]bool{}
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			if !e.deleted {
				delete(pending, e.name)
				continue
			}
			pending[e.name] = true
			tick.Reset(pruneInterval)
		case <-tick.C:
		}
		for name := range pending {
			if done, err := s.pruneMember(ctx, name); done {
				delete(pending, name)
			} else if err != nil && ctx.Err() == nil {
				s.log.Warn("the node is deleted, but its server cannot be taken out of the datastore yet", "node", name, "error", err)
			}
		}
		if len(pending) == 0 {
			tick.Stop()
		}
	}
}

// pruneMember removes a member that does not answer. One that answers is left alone: its server runs.
func (s *server) pruneMember(ctx context.Context, name string) (done bool, err error) {
	if name == s.cfg.NodeName {
		return true, nil
	}
	client, err := datastore.Local(s.cfg.Layout.EtcdSocket(), s.etcdClient(), s.log)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	all, err := client.Members(ctx)
	if err != nil {
		return false, err
	}
	for _, m := range all {
		switch {
		case m.Name != name:
			continue
		case m.Reached:
			return false, nil
		}
		if _, err := client.Remove(ctx, name); err != nil {
			return false, err
		}
		s.log.Info("removed the member of a deleted node from the datastore", "node", name, "member", m.ID)
	}
	return true, nil
}
