package cni

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"kedge/pkg/network/cni/wire"
)

// TestRestart: pods, their connections and their host ports outlive the process; new pods get other addresses.
func TestRestart(t *testing.T) {
	if !inNode(t) {
		return
	}
	out := newOutside(t)
	out.serveWho(t, ":9000")
	cfg := testConfig(t)
	n := startDual(t, cfg)
	a := n.addPod(t, "a", ports("tcp 30080 8080"))
	inward := must(out.dial(t, "tcp", nodeIP4+":30080"))(t)
	outward := must(a.dial(t, "tcp", outsideIP4+":9000"))(t)
	expect(t, askOn(inward), outsideIP4)
	expect(t, askOn(outward), nodeIP4)

	n.stop()
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), outsideIP4)
	n = start(t, cfg) // nobody says the pod CIDRs again
	expect(t, askOn(inward), outsideIP4)
	expect(t, askOn(outward), nodeIP4)
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), outsideIP4)
	b := n.addPod(t, "b", ports("tcp 30081 8080"))
	expect(t, a.ip4+" "+b.ip4, "10.42.7.2 10.42.7.3")
	expect(t, a.ask(t, "tcp", net.JoinHostPort(b.ip4, "8080")), a.ip4)
	check(t, n.SetPodCIDRs(prefixes("10.42.7.0/24", "fd00:42:0:7::/64")))

	n.delPod(t, a)
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), "")
	expect(t, out.ask(t, "tcp", nodeIP4+":30081"), outsideIP4)
}

// TestPowerCut: records whose links are gone are released, damaged ones too; links without a record are removed.
func TestPowerCut(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	cfg := testConfig(t)
	n := startDual(t, cfg)
	a := n.addPod(t, "a", ports("tcp 30080 8080"))
	b := n.addPod(t, "b", wire.Runtime{})
	c := n.addPod(t, "c", wire.Runtime{})
	n.stop()
	check(t, unplumb((*space)(nil).handle(t), hostLinkName(a.id, "eth0")))
	check(t, os.WriteFile(filepath.Join(cfg.StateDir, "pods", hostLinkName(b.id, "eth0")+".json"), nil, 0o600))

	n = start(t, cfg)
	files := must(filepath.Glob(filepath.Join(cfg.StateDir, "pods", "*")))(t)
	expect(t, len(files), 1)
	expect(t, filepath.Base(files[0]), hostLinkName(c.id, "eth0")+".json")
	links := must(podLinks(n.links))(t)
	expect(t, len(links), 1)
	if !links[hostLinkName(c.id, "eth0")] {
		t.Error("the link of the pod that is whole was removed")
	}
	d := n.addPod(t, "d", wire.Runtime{})
	expect(t, d.ip4, "10.42.7.5")
	expect(t, c.ask(t, "tcp", net.JoinHostPort(d.ip4, "8080")), c.ip4)
}

// TestDelete: DEL may be repeated, come for a pod that never was, and after the pod's namespace is gone.
func TestDelete(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	n := startDual(t, testConfig(t))
	a := n.addPod(t, "a", ports("tcp 30080 8080"))
	n.delPod(t, a)
	n.delPod(t, a)
	if r := n.call(t, "DEL", "never-seen", "", wire.Runtime{}); r.Error != nil {
		t.Errorf("DEL of an unknown pod: %v", r.Error)
	}
	b := n.addPod(t, "b", ports("udp 30080 8080"))
	if r := n.call(t, "DEL", b.id, "/no/such/namespace", wire.Runtime{}); r.Error != nil {
		t.Errorf("DEL with a namespace that is gone: %v", r.Error)
	}
	expect(t, len(must(podLinks(n.links))(t)), 0)
	expect(t, len(must(filepath.Glob(filepath.Join(n.cfg.StateDir, "pods", "*")))(t)), 0)
	expect(t, n.addPod(t, "a", wire.Runtime{}).ip4, "10.42.7.4") // addresses rest before they are used again
}

// TestReady: the runtime sees a configuration only while pods can be made.
func TestReady(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	cfg := testConfig(t)
	check(t, writeFile(cfg.confFile(), []byte("left by a former installation")))
	n := start(t, cfg)
	if _, err := os.Stat(cfg.confFile()); !os.IsNotExist(err) {
		t.Errorf("configuration before the pod CIDRs are known: %v", err)
	}
	expect(t, n.call(t, "STATUS", "", "", wire.Runtime{}).Error.Error(), notConfigured)
	r := n.call(t, "ADD", "a", newSpace(t).path, wire.Runtime{})
	expect(t, r.Error.Code, wire.CodeAgain)
	expect(t, r.Error.Error(), notConfigured)
	info := must(os.Stat(cfg.Socket))(t)
	expect(t, info.Mode().Perm(), os.FileMode(0o600))

	check(t, n.SetPodCIDRs(prefixes("10.42.7.0/24")))
	expect(t, string(must(os.ReadFile(cfg.confFile()))(t)), `{
  "cniVersion": "1.0.0",
  "name": "kedge",
  "plugins": [
    {
      "type": "kedge-cni",
      "socket": "`+cfg.Socket+`",
      "capabilities": {
        "bandwidth": true,
        "ips": true,
        "mac": true,
        "portMappings": true
      }
    }
  ]
}
`)
	if r := n.call(t, "STATUS", "", "", wire.Runtime{}); r.Error != nil {
		t.Errorf("STATUS: %v", r.Error)
	}
}

func expect[T comparable](t testing.TB, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestWithdrawServiceVIPs: the service proxy takes over; what the process itself serves stays, and so do connections.
func TestWithdrawServiceVIPs(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	(*space)(nil).serveWho(t, ":6443")
	cfg := testConfig(t)
	n := startDual(t, cfg)
	(*space)(nil).serveWho(t, "10.43.0.10:53")
	a := n.addPod(t, "a", ports("tcp 30080 8080"))
	held := must(a.dial(t, "tcp", "10.43.0.1:443"))(t)
	expect(t, askOn(held), a.ip4)

	check(t, n.WithdrawServiceVIPs())
	expect(t, a.ask(t, "tcp", "10.43.0.1:443"), "")
	expect(t, askOn(held), a.ip4)
	expect(t, a.ask(t, "tcp", "10.43.0.10:53"), a.ip4)
	expect(t, a.ask(t, "tcp", nodeIP4+":30080"), nodeIP4)
	check(t, n.WithdrawServiceVIPs())

	n.stop() // the next process serves them again until it is told
	n = start(t, cfg)
	expect(t, a.ask(t, "tcp", "10.43.0.1:443"), a.ip4)
	n.stop()
	start(t, Config{
		Socket: cfg.Socket, StateDir: cfg.StateDir, ConfDir: cfg.ConfDir, NodeIPs: cfg.NodeIPs, ClusterCIDRs: cfg.ClusterCIDRs,
	})
	expect(t, a.ask(t, "tcp", "10.43.0.1:443"), "")
}
