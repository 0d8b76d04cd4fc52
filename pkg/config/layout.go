package config

import "path/filepath"

const (
	// DefaultDataDir is where kedge keeps everything it writes unless --data-dir says otherwise.
	DefaultDataDir = "/var/lib/kedge"
	// DefaultRunDir holds sockets and runtime state of the default data directory; it is expected to be a tmpfs.
	DefaultRunDir = "/run/kedge"
	// DefaultKubeletDir is the kubelet's root with the default data directory, where users and CSI drivers look for it.
	DefaultKubeletDir = "/var/lib/kubelet"
)

// Layout names every file and directory that kedge owns on a machine. All paths are absolute.
// With a data directory of its own a node keeps its sockets and the kubelet's root inside it,
// so that several nodes can live on one host.
type Layout struct {
	DataDir    string
	RunDir     string
	KubeletDir string
}

// NewLayout derives the layout from an absolute data directory.
func NewLayout(dataDir string) Layout {
	dataDir = filepath.Clean(dataDir)
	if dataDir == DefaultDataDir {
		return Layout{DataDir: dataDir, RunDir: DefaultRunDir, KubeletDir: DefaultKubeletDir}
	}
	return Layout{DataDir: dataDir, RunDir: filepath.Join(dataDir, "run"), KubeletDir: filepath.Join(dataDir, "kubelet")}
}

func (l Layout) data(elem ...string) string {
	return filepath.Join(append([]string{l.DataDir}, elem...)...)
}

// Lock is the file a running kedge holds locked; it names the holder.
func (l Layout) Lock() string { return l.data("kedge.lock") }

// StatusSocket is the Unix socket on which the running process answers `kedge status`.
func (l Layout) StatusSocket() string { return filepath.Join(l.RunDir, "kedge.sock") }

// ServerTLS holds the certificate authorities and the server's leaves.
func (l Layout) ServerTLS() string { return l.data("server", "tls") }

// EtcdDir is the data directory of the embedded etcd.
func (l Layout) EtcdDir() string { return l.data("server", "db", "etcd") }

// EtcdSocket is the Unix socket of the embedded etcd's client traffic.
func (l Layout) EtcdSocket() string { return filepath.Join(l.RunDir, "etcd.sock") }

// Manifests holds the files that are applied to the cluster.
func (l Layout) Manifests() string { return l.data("server", "manifests") }

// AgentTLS holds the node's own credentials.
func (l Layout) AgentTLS() string { return l.data("agent", "tls") }

// BinDir is where the payload's programs are unpacked.
func (l Layout) BinDir() string { return l.data("agent", "bin") }

// AgentConfig holds the configuration files that are generated for containerd and CNI.
func (l Layout) AgentConfig() string { return l.data("agent", "etc") }

// ContainerdRoot is containerd's persistent directory.
func (l Layout) ContainerdRoot() string { return l.data("agent", "containerd") }

// ContainerdState is containerd's runtime directory.
func (l Layout) ContainerdState() string { return filepath.Join(l.RunDir, "containerd") }

// ContainerdSocket is containerd's gRPC socket.
func (l Layout) ContainerdSocket() string {
	return filepath.Join(l.ContainerdState(), "containerd.sock")
}

// RegistryHosts holds containerd's hosts.toml tree, generated from registries.yaml.
func (l Layout) RegistryHosts() string { return filepath.Join(l.AgentConfig(), "certs.d") }

// CNIConf is the directory of the CNI network configuration.
func (l Layout) CNIConf() string { return filepath.Join(l.AgentConfig(), "cni") }

// CNISocket is the Unix socket on which the pod network answers kedge-cni.
func (l Layout) CNISocket() string { return filepath.Join(l.RunDir, "cni.sock") }

// NetworkState remembers the pod network's allocations across restarts and power cuts.
func (l Layout) NetworkState() string { return l.data("agent", "network") }

// Images holds the image archives that are imported at start and on arrival.
func (l Layout) Images() string { return l.data("images") }

// Sockets lists the Unix sockets whose names depend on the data directory. Their length is bounded by the kernel.
func (l Layout) Sockets() []string {
	return []string{
		l.StatusSocket(), l.EtcdSocket(), l.CNISocket(), l.ContainerdSocket(), l.ContainerdSocket() + ".ttrpc",
		filepath.Join(l.KubeletDir, "device-plugins", "kubelet.sock"),
		filepath.Join(l.KubeletDir, "pod-resources", "kubelet.sock"),
	}
}
