package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/balancer"
	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
	"kedge/pkg/logging"
	"kedge/pkg/pki"
	"kedge/pkg/tunnel"
)

// localAPIServer is where the parts of an agent reach the cluster's API servers.
const localAPIServer = "127.0.0.1:6444"

// kubeletPort is the kubelet's.
const kubeletPort = "10250"

// meetTimeout bounds the question for the servers at the first start.
const meetTimeout = 5 * time.Second

// newBalancer knows the servers of former runs and the one that the user named.
func (r *role) newBalancer() (*balancer.Balancer, error) {
	server, err := url.Parse(r.cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("parse --server: %w", err)
	}
	l := r.cfg.Layout
	return balancer.New(balancer.Config{
		Listen: localAPIServer, Seed: server.Host, Node: r.cfg.NodeName, File: filepath.Join(l.AgentConfig(), "servers.json"),
		Check: balancer.Ready(filepath.Join(l.AgentTLS(), "kubelet.kubeconfig")), Log: logging.For(r.log, "balancer"),
	}), nil
}

// meetServers asks once, on a machine that has just joined, which servers there are, so that the node's long-lived connections go to the server
// of its choice from the beginning and not all to the one that everybody named. It goes on without an answer.
func (r *role) meetServers(ctx context.Context) error {
	if r.balancer.Known() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	cfg, err := clientcmd.BuildConfigFromFlags("", r.certificates.KubeconfigFile(pki.KubeletClient))
	if err != nil {
		return fmt.Errorf("load node's credentials: %w", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	found, err := client.DiscoveryV1().EndpointSlices(balancer.ServiceNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + balancer.ServiceName,
	})
	if err != nil {
		r.log.Debug("API servers are not known yet", "component", "balancer", "error", err)
		return nil
	}
	var all []*discoveryv1.EndpointSlice
	for i := range found.Items {
		all = append(all, &found.Items[i])
	}
	r.balancer.SetServers(balancer.Endpoints(all...))
	r.balancer.Rebalance()
	return nil
}

// newTunnel is the way of all API servers to this machine's kubelet.
func (r *role) newTunnel() (lifecycle.Component, error) {
	return tunnel.NewClient(tunnel.ClientConfig{
		Kubeconfig: r.certificates.KubeconfigFile(pki.KubeletClient),
		Kubelet:    kubeletAddress(r.node.Config),
		Servers:    r.balancer, Log: logging.For(r.log, "tunnel"),
	}), nil
}

// kubeletAddress is where the machine's own kubelet listens: --kubelet-arg may say so.
func kubeletAddress(c *config.Config) string {
	host, port := c.NodeIPs[0].String(), kubeletPort
	for _, arg := range c.KubeletArgs {
		switch arg.Key {
		case "port":
			port = arg.Value
		case "address":
			if a, err := netip.ParseAddr(arg.Value); err == nil && !a.IsUnspecified() {
				host = a.String()
			}
		}
	}
	return net.JoinHostPort(host, port)
}

// followServers tells the balancer of API servers that come and go.
func (a *Agent) followServers(ctx context.Context, ready func()) error {
	shared, err := a.informers()
	if err != nil {
		return err
	}
	store := shared.slices.GetStore()
	update := func(obj any) {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); !ok || !balancer.IsAPIServers(slice) {
			return
		}
		var all []*discoveryv1.EndpointSlice
		for _, obj := range store.List() {
			if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
				all = append(all, slice)
			}
		}
		a.Servers.SetServers(balancer.Endpoints(all...))
	}
	handle, err := shared.slices.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: update, UpdateFunc: func(_, obj any) { update(obj) },
	})
	if err != nil {
		return fmt.Errorf("watch API servers: %w", err)
	}
	ready()
	<-ctx.Done()
	if err := shared.slices.RemoveEventHandler(handle); err != nil {
		return fmt.Errorf("stop watching API servers: %w", err)
	}
	return nil
}

// servers is a component that keeps the balancer up to date, on a machine that has one.
func (a *Agent) servers() lifecycle.Component {
	if a.Servers == nil {
		return lifecycle.Parallel("no balancer")
	}
	return lifecycle.Func("servers", a.followServers)
}
