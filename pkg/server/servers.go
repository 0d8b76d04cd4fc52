package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/election"
	"kedge/pkg/join/bundle"
	"kedge/pkg/lifecycle"
	"kedge/pkg/pki"
	"kedge/pkg/status"
)

// leaseName is that of the one lease under which a server runs the controllers and the scheduler.
const leaseName = "kedge-controllers"

// controllers run on one server at a time. One lease for all is one write every two seconds, and not two.
func (s *server) controllers() lifecycle.Component {
	return lifecycle.Deferred("leader election", func() (lifecycle.Component, error) {
		cfg, err := clientcmd.BuildConfigFromFlags("", s.certificates.KubeconfigFile(pki.ControllerManager))
		if err != nil {
			return nil, fmt.Errorf("load credentials for the lease: %w", err)
		}
		cfg.Timeout = election.RequestTimeout
		client, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			return nil, fmt.Errorf("create client: %w", err)
		}
		return election.New(election.Options{
			Lease: leaseName, Identity: s.cfg.NodeName, Client: client,
			Many: s.state.Many(), Held: s.state.Open, Log: s.log,
		}, func() lifecycle.Component {
			return lifecycle.Parallel("controllers", s.scheduler(), s.controllerManager())
		}), nil
	})
}

// reportMembers tells who shares the datastore, and whether it works.
func (s *server) reportMembers(r *status.Report) {
	if s.state == nil {
		return
	}
	r.DatastoreIll = s.state.Problem()
	peers := s.state.Peers()
	if len(peers) < 2 {
		return
	}
	var names []string
	for _, p := range peers {
		name := cmp.Or(p.Name, "one that has not started")
		switch {
		case p.Leader:
			name += " (leads)"
		case p.Learner:
			name += " (is catching up)"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	r.Datastore += ", members " + strings.Join(names, ", ")
}

// servers keeps the bundle for servers that join up to date, and notices when some may.
func (s *server) servers() lifecycle.Component {
	return lifecycle.Func("servers", func(ctx context.Context, ready func()) error {
		cfg, err := clientcmd.BuildConfigFromFlags("", s.cfg.WriteKubeconfig)
		if err != nil {
			return fmt.Errorf("load administrator's credentials: %w", err)
		}
		client, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			return fmt.Errorf("create client: %w", err)
		}
		ready()
		files, err := pki.Export(s.cfg.Layout.ServerTLS())
		if err != nil {
			return err
		}
		if err := bundle.Publish(ctx, client, files); err != nil && ctx.Err() == nil {
			s.log.Warn("servers may not be able to join: the bundle of authorities could not be brought up to date", "error", err)
		}
		s.awaitOthers(ctx, client)
		<-ctx.Done()
		return nil
	})
}

// awaitOthers watches for the bundle, which exists while servers may join, until it appears or there are other servers.
func (s *server) awaitOthers(ctx context.Context, client kubernetes.Interface) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	only := fields.OneTermEqualSelector("metadata.name", bundle.Name)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "secrets", metav1.NamespaceSystem, only),
		ObjectType:    &corev1.Secret{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: func(any) { s.state.Allow() }},
	})
	stopped := make(chan struct{})
	go func() { defer close(stopped); informer.RunWithContext(ctx) }()
	select {
	case <-ctx.Done():
	case <-s.state.Many():
	}
	cancel()
	<-stopped
}
