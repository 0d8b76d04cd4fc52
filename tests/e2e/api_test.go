package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// api speaks to an API server from inside the host, with the administrator's kubeconfig. It is for questions that are
// asked again and again; whatever a user would do goes through kubectl.
type api struct {
	base string
	http *http.Client
}

// client reads the kubeconfig anew until it works.
func (n *node) client() (*api, error) {
	if n.via != nil {
		return n.via.client()
	}
	if n.api != nil {
		return n.api, nil
	}
	text, err := os.ReadFile(n.Path(kubeconfig))
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	var cfg struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Cert []byte `json:"client-certificate-data"`
				Key  []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.Unmarshal(text, &cfg); err != nil {
		return nil, fmt.Errorf("parse kubeconfig: %w", err)
	}
	if len(cfg.Clusters) != 1 || len(cfg.Users) != 1 {
		return nil, fmt.Errorf("kubeconfig has %d clusters and %d users, want one of each", len(cfg.Clusters), len(cfg.Users))
	}
	pair, err := tls.X509KeyPair(cfg.Users[0].User.Cert, cfg.Users[0].User.Key)
	if err != nil {
		return nil, fmt.Errorf("load client certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cfg.Clusters[0].Cluster.CA) {
		return nil, fmt.Errorf("kubeconfig has no certificate authority")
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.Dial(ctx, network, address)
		},
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		DisableKeepAlives: true, // what crashes and comes back must not be reached by an old connection
	}
	n.api = &api{base: cfg.Clusters[0].Cluster.Server, http: &http.Client{Transport: transport, Timeout: 10 * time.Second}}
	return n.api, nil
}

// do sends a request and decodes the answer into out, which may be nil.
func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, &body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.400s", method, path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (a *api) get(ctx context.Context, path string, out any) error {
	return a.do(ctx, http.MethodGet, path, nil, out)
}

// usable returns nil when the node is Ready and the default service account exists: pods can be created and will run.
func (a *api) usable(ctx context.Context, name string) error {
	var n corev1.Node
	if err := a.get(ctx, "/api/v1/nodes/"+name, &n); err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return fmt.Errorf("node is not ready: %s", c.Message)
		}
	}
	if len(n.Status.Conditions) == 0 {
		return fmt.Errorf("node has no conditions yet")
	}
	for _, taint := range n.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady {
			return fmt.Errorf("node still has the taint %s", taint.Key)
		}
	}
	return a.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
}
