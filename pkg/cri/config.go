package cri

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"
)

// Plugins that containerd's own executable would load and a node has no use for. Names that are not compiled in do no harm.
func disabled() []string {
	return []string{
		// Registers the same collectors in the default Prometheus registry as etcd: the second one panics.
		"io.containerd.metrics.v1.grpc-prometheus",
		"io.containerd.metrics.v1.grpc-otel",
		"io.containerd.snapshotter.v1.blockfile",
		"io.containerd.snapshotter.v1.btrfs",
		"io.containerd.snapshotter.v1.devmapper",
		"io.containerd.snapshotter.v1.erofs",
		"io.containerd.snapshotter.v1.zfs",
		"io.containerd.differ.v1.erofs",
		"io.containerd.mount-handler.v1.erofs",
		"io.containerd.internal.v1.opt",
		"io.containerd.internal.v1.tracing",
		"io.containerd.tracing.processor.v1.otlp",
		"io.containerd.monitor.container.v1.restart",
		"io.containerd.nri.v1.nri",
	}
}

// Config returns containerd's configuration file. It is of version 4, the newest that containerd 2.3 knows: it needs no
// migration, which would be logged as a warning at every start.
func Config(o Options) []byte {
	o = o.withDefaults()
	w := &writer{}
	w.comment("Written by kedge at every start. Settings of your own belong into " + o.UserFiles + ".")
	w.set("version", 4)
	w.set("root", o.Layout.ContainerdRoot())
	w.set("state", o.Layout.ContainerdState())
	w.set("imports", []string{o.UserFiles})
	w.list("disabled_plugins", disabled())
	sockets(w, o)
	images(w, o)
	runtime(w, o)
	streaming(w)
	return w.Bytes()
}

func sockets(w *writer, o Options) {
	w.plugin("io.containerd.server.v1.grpc")
	w.set("address", o.Layout.ContainerdSocket())
	w.set("uid", 0)
	w.set("gid", 0)
	w.plugin("io.containerd.server.v1.ttrpc")
	w.set("address", o.Layout.ContainerdSocket()+".ttrpc")
	w.set("uid", 0)
	w.set("gid", 0)
	w.plugin("io.containerd.shim.v1.manager")
	w.set("socket_dir", ShimSockets(o.Layout))
	w.plugin("io.containerd.monitor.task.v1.cgroups")
	w.set("no_prometheus", true) // else in the registry that etcd's metrics are served from
}

func images(w *writer, o Options) {
	w.plugin("io.containerd.cri.v1.images")
	w.set("snapshotter", o.Snapshotter)
	// How often the size of every container's file system is measured by walking it.
	w.set("stats_collect_period", 30)
	w.plugin("io.containerd.cri.v1.images", "pinned_images")
	w.set("sandbox", o.SandboxImage)
	w.plugin("io.containerd.cri.v1.images", "registry")
	w.set("config_path", o.Layout.RegistryHosts())
	w.plugin("io.containerd.transfer.v1.local")
	w.set("config_path", o.Layout.RegistryHosts())
	w.tables("io.containerd.transfer.v1.local", "unpack_config")
	w.set("platform", platforms.Format(platforms.DefaultSpec()))
	w.set("snapshotter", o.Snapshotter)
	w.set("differ", "walking")
}

func runtime(w *writer, o Options) {
	const cri = "io.containerd.cri.v1.runtime"
	w.plugin(cri)
	w.set("disable_apparmor", o.DisableAppArmor)
	w.set("restrict_oom_score_adj", o.RestrictOOMScoreAdj)
	w.set("tolerate_missing_hugetlb_controller", true)
	w.set("enable_unprivileged_ports", true)
	w.set("enable_unprivileged_icmp", true)
	w.set("netns_mounts_under_state_dir", true)
	// A probe or hook that leaves a process behind with its output open must not wait for it for ever.
	w.set("drain_exec_sync_io_timeout", "30s")
	// Only CRI clients other than the kubelet ask for these samples; the default is one a second and container.
	w.set("stats_collect_period", "10s")
	w.plugin(cri, "containerd")
	w.set("default_runtime_name", "runc")
	w.plugin(cri, "containerd", "runtimes", "runc")
	w.set("runtime_type", "io.containerd.runc.v2")
	w.set("runtime_path", filepath.Join(o.Layout.BinDir(), "containerd-shim-runc-v2"))
	w.plugin(cri, "containerd", "runtimes", "runc", "options")
	w.set("BinaryName", filepath.Join(o.Layout.BinDir(), "runc"))
	w.set("SystemdCgroup", o.SystemdCgroup)
	w.plugin(cri, "cni")
	w.set("bin_dirs", []string{o.Layout.BinDir()})
	w.set("conf_dir", o.Layout.CNIConf())
	w.set("use_internal_loopback", true) // there is no CNI program for it
}

func streaming(w *writer) {
	w.plugin("io.containerd.grpc.v1.cri")
	w.set("disable_tcp_service", true)
	w.set("stream_server_address", "127.0.0.1")
	w.set("stream_server_port", "0")
}

// writer prints TOML in the order of the calls.
type writer struct{ bytes.Buffer }

func (w *writer) comment(text string) { fmt.Fprintf(w, "# %s\n", text) }

func (w *writer) set(key string, value any) { fmt.Fprintf(w, "%s = %s\n", key, literal(value)) }

func (w *writer) list(key string, values []string) {
	fmt.Fprintf(w, "%s = [\n", key)
	for _, v := range values {
		fmt.Fprintf(w, "  %s,\n", literal(v))
	}
	fmt.Fprintln(w, "]")
}

func (w *writer) plugin(id string, tables ...string) {
	fmt.Fprintf(w, "\n[plugins.%s]\n", strings.Join(append([]string{literal(id)}, tables...), "."))
}

func (w *writer) tables(id, name string) { fmt.Fprintf(w, "\n[[plugins.%s.%s]]\n", literal(id), name) }

// literal relies on what JSON and TOML have in common: numbers, booleans, lists and escaped strings.
func literal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("value %v has no literal: %v", value, err)) // only for types that this package does not use
	}
	return string(text)
}
