package apiserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/egressselector"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"

	"kedge/pkg/tunnel"
)

const (
	// addressIndex finds Node objects by the addresses that they name.
	addressIndex = "kedge-address"
	nodePrefix   = "system:node:"
)

// useTunnels makes the API server reach kubelets by way of their tunnels. Only those connections are concerned: pods, services and
// webhooks are reached as ever. It must be called before the server chain is made, mountTunnels after.
func useTunnels(cfg *app.Config, tunnels *tunnel.Server) error {
	nodes := cfg.KubeAPIs.ControlPlane.VersionedInformers.Core().V1().Nodes().Informer()
	if err := nodes.AddIndexers(cache.Indexers{addressIndex: nodeAddresses}); err != nil {
		return fmt.Errorf("index nodes by address: %w", err)
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("connect to kubelet: %w", err)
		}
		claims, err := claimsOf(nodes.GetIndexer(), host)
		if err != nil {
			return nil, err
		}
		return tunnels.Dial(ctx, network, address, claims)
	}
	cfg.KubeAPIs.KubeletClientConfig.Lookup = func(egressselector.NetworkContext) (utilnet.DialFunc, error) { return dial, nil }

	// A tunnel lasts: it must neither time out nor count as a request in flight.
	handlers := cfg.Aggregator.GenericConfig
	upstream := handlers.LongRunningFunc
	handlers.LongRunningFunc = func(r *http.Request, info *request.RequestInfo) bool {
		return upstream(r, info) || !info.IsResourceRequest && info.Path == tunnel.Path
	}
	return nil
}

// mountTunnels serves the path of tunnels behind authentication and authorization.
func mountTunnels(server *genericapiserver.GenericAPIServer, tunnels *tunnel.Server) {
	server.Handler.NonGoRestfulMux.UnlistedHandleFunc(tunnel.Path, func(w http.ResponseWriter, r *http.Request) {
		node, until, err := identify(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		tunnels.Accept(w, r, node, until)
	})
}

// identify returns the node whose certificate opened the connection, and when the certificate expires. Somebody who
// may act in the name of a node by other means, impersonation for example, is not the node.
func identify(r *http.Request) (node string, until time.Time, err error) {
	who, ok := request.UserFrom(r.Context())
	if !ok || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", time.Time{}, fmt.Errorf("only nodes open tunnels, with their certificate")
	}
	leaf := r.TLS.PeerCertificates[0]
	name, ok := strings.CutPrefix(who.GetName(), nodePrefix)
	if !ok || name == "" || !slices.Contains(who.GetGroups(), user.NodesGroup) || leaf.Subject.CommonName != who.GetName() {
		return "", time.Time{}, fmt.Errorf("only nodes open tunnels, and %s is none", who.GetName())
	}
	return name, leaf.NotAfter, nil
}

func nodeAddresses(obj any) ([]string, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return nil, nil
	}
	var out []string
	for _, a := range node.Status.Addresses {
		if !slices.Contains(out, a.Address) {
			out = append(out, a.Address)
		}
	}
	return out, nil
}

// claimsOf lists the nodes that name an address as theirs.
func claimsOf(nodes cache.Indexer, address string) ([]tunnel.Claim, error) {
	found, err := nodes.ByIndex(addressIndex, address)
	if err != nil {
		return nil, fmt.Errorf("look up node by address: %w", err)
	}
	var claims []tunnel.Claim
	for _, obj := range found {
		if node, ok := obj.(*corev1.Node); ok {
			claims = append(claims, tunnel.Claim{Node: node.Name, Since: node.CreationTimestamp.Time})
		}
	}
	return claims, nil
}
