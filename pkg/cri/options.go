package cri

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"kedge/pkg/config"
)

const (
	// UserFiles are merged over the generated configuration, in alphabetical order. Tables merge key by key,
	// lists are joined, and a plugin that is disabled here stays disabled.
	UserFiles = "/etc/kedge/containerd.d/*.toml"
	// SandboxImage is the pause image that the executable carries.
	SandboxImage = "kedge.local/pause:1"
	// Namespace is containerd's namespace of everything that belongs to Kubernetes.
	Namespace = "k8s.io"
	// DefaultSnapshotter stores each layer once; it needs a data directory on which the kernel can mount overlayfs.
	DefaultSnapshotter = "overlayfs"
	// FallbackSnapshotter copies every layer. It works on every file system.
	FallbackSnapshotter = "native"
)

// Options of containerd's configuration.
type Options struct {
	Layout config.Layout // required

	Snapshotter         string // optional: DefaultSnapshotter
	SandboxImage        string // optional: SandboxImage
	UserFiles           string // optional: UserFiles
	SystemdCgroup       bool   // runc asks systemd for cgroups
	RestrictOOMScoreAdj bool   // the process may not lower oom_score_adj: it has no CAP_SYS_RESOURCE
	DisableAppArmor     bool   // the kernel has no AppArmor, or its files cannot be written
}

func (o Options) withDefaults() Options {
	if o.Snapshotter == "" {
		o.Snapshotter = DefaultSnapshotter
	}
	if o.SandboxImage == "" {
		o.SandboxImage = SandboxImage
	}
	if o.UserFiles == "" {
		o.UserFiles = UserFiles
	}
	return o
}

// maxShimSockets is what containerd allows: a socket's path has 107 bytes (unix(7)), 65 of them are the file's name.
const maxShimSockets = 42

// ShimSockets is the directory of the shims' sockets. It is below the runtime directory unless that has a long name.
func ShimSockets(l config.Layout) string {
	dir := filepath.Join(l.ContainerdState(), "s")
	if len(dir) <= maxShimSockets {
		return dir
	}
	sum := sha256.Sum256([]byte(l.DataDir))
	return filepath.Join(config.DefaultRunDir, "s-"+hex.EncodeToString(sum[:8]))
}
