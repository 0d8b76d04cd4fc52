package containerd_test

import (
	"os"
	"path/filepath"
	"testing"

	"kedge/embedded/containerd"
	"kedge/pkg/config"
	"kedge/pkg/cri"
)

const grpcPlugin = "io.containerd.server.v1.grpc"

// TestLoad: containerd reads what kedge writes, without a migration, and the user's files over it.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	layout := config.NewLayout(dir)
	file, user := filepath.Join(dir, "containerd.toml"), filepath.Join(dir, "user.toml")
	text := cri.Config(cri.Options{Layout: layout, UserFiles: filepath.Join(dir, "user*.toml")})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := containerd.Load(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Version != 4 || cfg.Root != layout.ContainerdRoot() || cfg.State != layout.ContainerdState() {
		t.Errorf("version %d, root %s, state %s", cfg.Version, cfg.Root, cfg.State)
	}
	grpc, _ := cfg.Plugins[grpcPlugin].(map[string]any)
	if got := grpc["address"]; got != layout.ContainerdSocket() {
		t.Errorf("gRPC address %v, want %s", got, layout.ContainerdSocket())
	}

	if err := os.WriteFile(user, []byte("version = 4\n[plugins.\""+grpcPlugin+"\"]\nmax_recv_message_size = 1234\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err = containerd.Load(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	grpc, _ = cfg.Plugins[grpcPlugin].(map[string]any)
	if grpc["address"] != layout.ContainerdSocket() || grpc["max_recv_message_size"] != int64(1234) {
		t.Errorf("with the user's file the gRPC server is %v", grpc)
	}
}

func TestLoadDamaged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "containerd.toml")
	if err := os.WriteFile(file, []byte("version = 4\nroot = \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := containerd.Load(t.Context(), file)
	want := "load containerd configuration " + file + ": "
	if err == nil || len(err.Error()) <= len(want) || err.Error()[:len(want)] != want {
		t.Errorf("error %v, want one that begins with %q", err, want)
	}
}
