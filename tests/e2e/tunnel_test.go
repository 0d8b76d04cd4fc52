package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"kedge/tests/host"
)

// TestTunnel: the API server's ways to the kubelet of a machine into which nothing comes from outside.
func TestTunnel(t *testing.T) {
	nodes := bootCluster(t, 2)
	server, agent := nodes[0], nodes[1]
	agent.refuseInbound(t)
	server.kubectl(t, "cordon", server.Name) // all pods are the agent's
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if conn, err := server.Dial(ctx, "tcp", net.JoinHostPort(agent.IP().String(), "10250")); err == nil {
		_ = conn.Close()
		t.Fatal("the agent's kubelet can be reached directly: the test would prove nothing")
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *node, *node)
	}{
		{"exec", func(t *testing.T, server, _ *node) { testExec(t, server) }},
		{"node proxy", nodeProxy},
		{"server is restarted", func(t *testing.T, server, _ *node) { serverReturns(t, server, "stopped", syscall.SIGTERM) }},
		{"server is killed", func(t *testing.T, server, _ *node) { serverReturns(t, server, "killed", syscall.SIGKILL) }},
		{"tunnel is cut", tunnelCut},
		{"other server is remembered", remembered},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, server, agent) })
	}
}

// nodeProxy reads what a metrics server reads.
func nodeProxy(t *testing.T, server, agent *node) {
	for path, want := range map[string]string{
		"healthz": "ok", "metrics/resource": "node_memory_working_set_bytes", "stats/summary": `"nodeName": "` + agent.Name + `"`,
	} {
		if got := server.kubectl(t, "get", "--raw", "/api/v1/nodes/"+agent.Name+"/proxy/"+path); !strings.Contains(got, want) {
			t.Errorf("%s has no %s:\n%s", path, want, lastLines(got, 10))
		}
	}
}

// serverReturns: the first request after a server's restart finds the kubelet, although no direct way is there.
func serverReturns(t *testing.T, server *node, name string, signal syscall.Signal) {
	ns := server.namespace(t, name)
	server.serving(t, ns, "web")
	var out lines
	follow, err := server.Start(host.Spec{Args: []string{kedge, "kubectl", "logs", "-f", "-n", ns, "web"}, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	host.Eventually(t, 20*time.Second, "followed log", func() error {
		if got := out.String(); got != "serving on 8080\n" {
			return fmt.Errorf("log so far %q", got)
		}
		return nil
	})
	if err := server.server.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-server.server.Done()
	<-follow.Done() // its server is gone
	server.start(t)
	host.Eventually(t, startLimit, "API server answers", func() error {
		return server.tryKubectl(t, "", "get", "--raw", "/readyz").Check()
	})
	begin := time.Now()
	if r := server.tryKubectl(t, "", "exec", "-n", ns, "web", "--", "hostname"); r.Check() != nil || r.Stdout != "web\n" {
		t.Errorf("exec right after the start: %+v", r)
	}
	if r := server.tryKubectl(t, "", "logs", "-n", ns, "web"); r.Check() != nil || r.Stdout != "serving on 8080\n" {
		t.Errorf("logs right after the start: %+v", r)
	}
	t.Logf("both took %s", time.Since(begin))
	server.waitReady(t)
}

// tunnelCut: a tunnel that does not answer is given up for the direct way, and comes back when it can.
func tunnelCut(t *testing.T, server, agent *node) {
	ns := server.namespace(t, "cut")
	server.serving(t, ns, "web")
	agent.openFirewall(t)
	tunnels := func() int { return strings.Count(agent.log(t), `msg="tunnel to API server is open"`) }
	before := tunnels()
	agent.silence(t, 6443)
	begin := time.Now()
	if got := server.exec(t, ns, "web", "hostname"); got != "web" {
		t.Errorf("hostname %q", got)
	}
	t.Logf("exec with a cut tunnel took %s", time.Since(begin))
	agent.openFirewall(t)
	agent.refuseInbound(t)
	host.Eventually(t, time.Minute, "tunnel is back", func() error {
		if n := tunnels(); n <= before {
			return fmt.Errorf("tunnels opened so far: %d", n)
		}
		return nil
	})
	if got := server.exec(t, ns, "web", "hostname"); got != "web" {
		t.Errorf("hostname %q", got)
	}
}

// remembered: an agent starts with any server that it has known, although the one that it was given is gone.
func remembered(t *testing.T, server, agent *node) {
	if code, _ := agent.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	starts := strings.Count(agent.log(t), `msg="node is ready"`)
	agent.startAs(t, "agent", nil, "--server", "https://"+net.JoinHostPort(agent.lab.Switch.Address().String(), "6443"))
	host.Eventually(t, startLimit, "agent is ready again", func() error {
		if err := agent.alive(); err != nil {
			t.Fatal(err)
		}
		if strings.Count(agent.log(t), `msg="node is ready"`) == starts {
			return errors.New("not yet")
		}
		return nil
	})
	if got := server.kubectl(t, "get", "--raw", "/api/v1/nodes/"+agent.Name+"/proxy/healthz"); got != "ok" {
		t.Errorf("health of the kubelet: %q", got)
	}
}
