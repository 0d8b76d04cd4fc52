package kubelet

import (
	"strings"
	"testing"

	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"

	"kedge/pkg/config"
)

func example() Config {
	return Config{
		NodeName: "a", NodeIPs: []string{"192.0.2.1", "2001:db8::1"}, Root: "/var/lib/kubelet", PodLogs: "/var/log/pods",
		StaticPods: "/var/lib/kedge/agent/pod-manifests", Socket: "/run/kedge/containerd/containerd.sock",
		Kubeconfig: "/k", TLSCert: "/c", TLSKey: "/y", ClientCA: "/ca",
		ClusterDNS: []string{"10.43.0.10"}, ClusterDomain: "cluster.local", CgroupDriver: "cgroupfs", OOMScoreAdj: -999,
		Labels: []string{"a=b", "c=d"}, Taints: []string{"k=v:NoSchedule"},
	}
}

// TestSecurity: nobody is let in without the API server's consent.
func TestSecurity(t *testing.T) {
	s, err := example().server()
	if err != nil {
		t.Fatal(err)
	}
	if s.Authentication.Anonymous.Enabled || !s.Authentication.Webhook.Enabled || s.Authentication.X509.ClientCAFile != "/ca" {
		t.Errorf("authentication %+v", s.Authentication)
	}
	if s.Authorization.Mode != kubeletconfig.KubeletAuthorizationModeWebhook {
		t.Errorf("authorization %s", s.Authorization.Mode)
	}
	if s.ReadOnlyPort != 0 || s.TLSCertFile != "/c" || s.TLSPrivateKeyFile != "/y" {
		t.Errorf("read-only port %d, certificate %s, key %s", s.ReadOnlyPort, s.TLSCertFile, s.TLSPrivateKeyFile)
	}
}

func TestNode(t *testing.T) {
	s, err := example().server()
	if err != nil {
		t.Fatal(err)
	}
	if s.HostnameOverride != "a" || s.NodeIP != "192.0.2.1,2001:db8::1" || s.KubeConfig != "/k" || s.RootDirectory != "/var/lib/kubelet" {
		t.Errorf("name %s, addresses %s, kubeconfig %s, root %s", s.HostnameOverride, s.NodeIP, s.KubeConfig, s.RootDirectory)
	}
	if len(s.NodeLabels) != 2 || s.NodeLabels["a"] != "b" || len(s.RegisterWithTaints) != 1 || s.RegisterWithTaints[0].ToString() != "k=v:NoSchedule" {
		t.Errorf("labels %v, taints %v", s.NodeLabels, s.RegisterWithTaints)
	}
	if s.ContainerRuntimeEndpoint != "unix:///run/kedge/containerd/containerd.sock" || s.FailCgroupV1 || s.ResolverConfig != "" {
		t.Errorf("runtime %s, cgroup v1 refused %v, resolvers %q", s.ContainerRuntimeEndpoint, s.FailCgroupV1, s.ResolverConfig)
	}
}

func TestArgs(t *testing.T) {
	c := example()
	c.Args = []config.Arg{
		{Key: "max-pods", Value: "7"}, {Key: "read-only-port", Value: "10255"}, {Key: "serialize-image-pulls", Value: "true"},
		{Key: "eviction-hard", Value: "memory.available<1Mi"},
	}
	s, err := c.server()
	if err != nil {
		t.Fatal(err)
	}
	if s.MaxPods != 7 || s.ReadOnlyPort != 10255 || !s.SerializeImagePulls {
		t.Errorf("pods %d, read-only port %d, pulls in turn %v", s.MaxPods, s.ReadOnlyPort, s.SerializeImagePulls)
	}
	if len(s.EvictionHard) != 1 || s.EvictionHard["memory.available"] != "1Mi" {
		t.Errorf("eviction thresholds %v", s.EvictionHard)
	}
}

func TestBadArgs(t *testing.T) {
	for arg, want := range map[config.Arg]string{
		{Key: "no-such-flag", Value: "1"}:     "parse --kubelet-arg: unknown flag: --no-such-flag",
		{Key: "max-pods", Value: "many"}:      `parse --kubelet-arg: invalid argument "many" for "--max-pods" flag: strconv.ParseInt: parsing "many": invalid syntax`,
		{Key: "max-pods", Value: "-1"}:        "validate configuration: invalid configuration: maxPods (--max-pods) -1 must not be a negative number",
		{Key: "config", Value: "/etc/k.yaml"}: "parse --kubelet-arg: config and config-dir are not read; give each setting as a flag of the kubelet's",
	} {
		c := example()
		c.Args = []config.Arg{arg}
		_, err := c.server()
		if err == nil {
			t.Errorf("%s was accepted", arg)
			continue
		}
		if got, _, _ := strings.Cut(err.Error(), "\n"); got != want {
			t.Errorf("%s: error %q, want %q", arg, got, want)
		}
	}
}
