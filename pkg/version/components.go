package version

import "runtime/debug"

// Components returns the version of each embedded component by the name under which it runs. Components of Kubernetes
// show kedge's version of it, the others that of their Go module.
func Components() map[string]string {
	versions := map[string]string{
		"apiserver": Kubernetes(), "controller-manager": Kubernetes(), "scheduler": Kubernetes(), "kubelet": Kubernetes(),
	}
	modules := map[string]string{
		"go.etcd.io/etcd/server/v3":           "etcd",
		"github.com/containerd/containerd/v2": "containerd",
		"github.com/coredns/coredns":          "dns",
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, m := range info.Deps {
		if name, ok := modules[m.Path]; ok {
			versions[name] = m.Version
		}
	}
	return versions
}
