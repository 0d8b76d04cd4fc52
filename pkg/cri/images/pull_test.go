package images_test

import (
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/grpc"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"kedge/pkg/config"
	"kedge/pkg/cri/registries"
)

// The CRI of a containerd with kedge's configuration pulls as registries.yaml says: from a mirror, under another name,
// with credentials.
func TestPullAsConfigured(t *testing.T) {
	r := needContainerd(t)
	api := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); user != "me" || password != "hidden" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		api.ServeHTTP(w, req)
	}))
	defer server.Close()
	host := server.Listener.Addr().String()
	ref := must[name.Reference](t)(name.ParseReference(host + "/team/app:1"))
	if err := remote.Write(ref, newImage(t, runtime.GOARCH), remote.WithAuth(&authn.Basic{Username: "me", Password: "hidden"})); err != nil {
		t.Fatal(err)
	}
	startRegistries(t, r, `
mirrors: {pull.test: {endpoint: ["http://`+host+`"], rewrite: {"^(.*)$": "team/$1"}}}
configs: {"`+host+`": {auth: {username: me, password: hidden}}}
`)
	conn, ok := r.client.Conn().(*grpc.ClientConn)
	if !ok {
		t.Fatal("no gRPC connection")
	}
	request := &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: "pull.test/app:1"}}
	if _, err := criapi.NewImageServiceClient(conn).PullImage(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if got, want := shown(t, "pull.test/"), []string{"app:1 pinned=false"}; !slices.Equal(got, want) {
		t.Errorf("the kubelet sees %q, want %q", got, want)
	}
}

func startRegistries(t *testing.T, r *runtimeUnderTest, yaml string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registries.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c := registries.New(registries.Options{
		File: file, Dir: config.NewLayout(filepath.Join(r.dir, "d")).RegistryHosts(), Log: slog.New(slog.DiscardHandler),
	})
	ready, done := make(chan struct{}), make(chan error, 1)
	ctx := t.Context() // ends before cleanup functions run
	go func() { done <- c.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
