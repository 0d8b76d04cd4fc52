package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"kedge/tests/host"
	"kedge/tests/image"
)

// machine describes everything about a host that a reset has to restore, one line each.
func machine(t *testing.T, n *node) map[string][]string {
	t.Helper()
	m := map[string][]string{}
	err := n.InNet(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			m["links"] = append(m["links"], l.Type()+" "+l.Attrs().Name)
			addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			for _, a := range addresses {
				m["addresses"] = append(m["addresses"], l.Attrs().Name+" "+a.IPNet.String())
			}
		}
		rules, err := netlink.RuleList(netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, r := range rules {
			m["rules"] = append(m["rules"], r.String())
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		for _, r := range routes {
			m["routes"] = append(m["routes"], fmt.Sprintf("%v via %v dev %d table %d", r.Dst, r.Gw, r.LinkIndex, r.Table))
		}
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := nft.ListTables()
		for _, table := range tables {
			m["nftables"] = append(m["nftables"], fmt.Sprintf("%d %s", table.Family, table.Name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := func(script string) []string {
		return strings.Split(strings.TrimSpace(n.Must(t, "sh", "-c", script)), "\n")
	}
	m["mounts"] = lines(`awk '{print $4, $5}' /proc/1/mountinfo`)
	m["cgroups"] = lines(`find /sys/fs/cgroup -type d`)
	m["processes"] = lines(`cat /proc/[0-9]*/comm | grep -vxE 'sh|cat|grep'; true`)
	m["namespaces"] = lines(`ls -A /run/netns /var/run/netns 2>/dev/null; true`)
	m["run"] = lines(`ls -A /run`)
	m["disks"] = lines(`find /var/lib/kedge /var/lib/kubelet /var/lib/containerd /var/log/pods /var/log/containers /etc/cni /opt/cni -mindepth 1 -maxdepth 2`)
	m["configuration"] = lines(`find /etc/kedge -mindepth 1`)
	for k := range m {
		sort.Strings(m[k])
	}
	return m
}

const resetPod = `
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec:
  volumes: [{name: v, emptyDir: {}}, {name: m, emptyDir: {medium: Memory}}]
  containers:
  - name: main
    image: IMAGE
    command: [probe, serve]
    ports: [{containerPort: 8080, hostPort: 18080}]
    volumeMounts: [{name: v, mountPath: /v}, {name: m, mountPath: /m}]
`

func TestReset(t *testing.T) {
	n := newNode(t)
	config := filepath.Join(n.Path("/etc/kedge"), "config.yaml")
	if err := os.WriteFile(config, []byte("node-label: [kept=yes]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(n.Path(dataDir + "/images")); err != nil { // part of what is compared
		t.Fatal(err)
	}
	before := machine(t, n)
	n.putImage(t)
	n.start(t)
	n.waitReady(t)
	ns := n.namespace(t, "reset")
	n.apply(t, ns, strings.ReplaceAll(resetPod, "IMAGE", image.Name))
	pod := n.waitPodReady(t, ns, "guest")

	t.Run("refuses while kedge runs", func(t *testing.T) {
		r := n.kedge(t, "reset", "--yes")
		if r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, "process") {
			t.Errorf("%+v", r)
		}
		if got := n.exec(t, ns, "guest", "hostname"); got != "guest" {
			t.Errorf("the pod says %q", got)
		}
	})
	foreign := mountForeign(t, n, string(pod.UID))
	if code, _ := n.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	t.Run("asks", func(t *testing.T) {
		for _, answer := range []string{"", "n\n", "whatever\n"} {
			r := n.Run(t.Context(), host.Spec{Args: []string{kedge, "reset"}, Stdin: strings.NewReader(answer)})
			if r.Code == 0 {
				t.Errorf("answer %q: %+v", answer, r)
			}
		}
		if got, err := dialFrom(t.Context(), n.Dial, "tcp", pod.Status.PodIP+":8080", "hostname"); err != nil || got != "guest" {
			t.Errorf("the pod says %q, %v", got, err)
		}
	})
	r := n.kedge(t, "reset", "--yes")
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range foreign {
		if content, err := os.ReadFile(filepath.Join(dir, "precious")); err != nil || string(content) != "kept" {
			t.Errorf("a file of a foreign file system: %q, %v", content, err)
		}
	}
	if got := n.Must(t, "cat", "/run/foreign/precious"); got != "kept" {
		t.Errorf("a file of a foreign tmpfs: %q", got)
	}
	n.Must(t, "sh", "-c", "umount /run/foreign && rmdir /run/foreign")
	after := machine(t, n)
	for what := range before {
		if !slices.Equal(before[what], after[what]) {
			t.Errorf("%s\nbefore %q\nafter  %q", what, before[what], after[what])
		}
	}
	if t.Failed() {
		t.Log(r.Stdout, r.Stderr)
	}
	t.Run("again", func(t *testing.T) {
		if err := n.kedge(t, "reset", "--yes").Check(); err != nil {
			t.Error(err)
		}
	})
	t.Run("starts anew", func(t *testing.T) {
		n.putImage(t)
		n.start(t)
		n.waitReady(t)
		if got := n.kubectl(t, "get", "pods", "-A", "-o", "name"); got != "" {
			t.Errorf("pods %q", got)
		}
		if got := n.kubectl(t, "get", "node", n.Name, "-o", "jsonpath={.metadata.labels.kept}"); got != "yes" {
			t.Errorf("label %q", got)
		}
	})
}

// mountForeign mounts, below the pod's volume, a directory of the machine and a tmpfs that is also mounted elsewhere.
// It returns the directories of the machine.
func mountForeign(t *testing.T, n *node, uid string) []string {
	t.Helper()
	dir := filepath.Join(n.Home(), "foreign")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	volume := "/var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~empty-dir/v"
	n.Must(t, "sh", "-ec", `mkdir `+volume+`/a `+volume+`/b /run/foreign
printf kept > `+dir+`/precious; mount --bind `+dir+` `+volume+`/a
mount -t tmpfs t /run/foreign; printf kept > /run/foreign/precious; mount --bind /run/foreign `+volume+`/b
test -e `+volume+`/a/precious; test -e `+volume+`/b/precious`)
	return []string{dir}
}
