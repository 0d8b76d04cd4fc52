package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Ready returns a check for Config that asks a server's /readyz with the identity and the trust of a kubeconfig, of which the server is not used.
// While the file does not exist, every server that accepts connections is ready.
func Ready(kubeconfig string) func(ctx context.Context, address string) error {
	return func(ctx context.Context, address string) error {
		if _, err := os.Stat(kubeconfig); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return fmt.Errorf("load node's credentials: %w", err)
		}
		tls, err := rest.TLSConfigFor(config)
		if err != nil {
			return fmt.Errorf("load node's credentials: %w", err)
		}
		transport := &http.Transport{TLSClientConfig: tls, DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("make request: %w", err)
		}
		answer, err := transport.RoundTrip(req)
		if err != nil {
			return fmt.Errorf("ask whether API server is ready: %w", err)
		}
		defer func() { _ = answer.Body.Close() }()
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // the status says it
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("ask whether API server is ready: %s", answer.Status)
		}
		return nil
	}
}
