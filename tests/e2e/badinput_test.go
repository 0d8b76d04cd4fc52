package e2e

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"kedge/tests/host"
)

// failing runs kedge and returns its exit status and everything it said. It must end by itself within half a minute.
func (n *node) failing(t *testing.T, spec host.Spec) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	spec.Args = append([]string{kedge}, spec.Args...)
	r := n.Run(ctx, spec)
	if ctx.Err() != nil {
		t.Errorf("%s did not end", strings.Join(spec.Args, " "))
	}
	return r.Code, r.Stdout + r.Stderr
}

// expectError wants an exit status, all of the words, and no stack of goroutines.
func expectError(t *testing.T, code int, said string, wantCode int, words ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit status %d, want %d", code, wantCode)
	}
	for _, w := range words {
		if !regexp.MustCompile(w).MatchString(said) {
			t.Errorf("does not say %q", w)
		}
	}
	if strings.Contains(said, "goroutine ") || strings.Contains(said, "panic:") {
		t.Error("a stack is not an error message")
	}
	if t.Failed() {
		t.Logf("said:\n%s", lastLines(said, 40))
	}
}

// TestBadInput gives kedge everything that is wrong before it has started. Nothing may be written.
func TestBadInput(t *testing.T) {
	n := newNode(t)
	if err := os.RemoveAll(n.Path(dataDir + "/images")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		config string
		code   int
		words  []string
	}{
		{"unknown command", []string{"servr"}, "", 2, []string{"servr", "server"}},
		{"unknown flag", []string{"server", "--node-nme", "x"}, "", 2, []string{"node-nme", "node-name"}},
		{"unknown key", []string{"server"}, "cluster-cdir: 10.1.0.0/16\n", 2, []string{"config.yaml", "cluster-cdir", "cluster-cidr"}},
		{"not YAML", []string{"server"}, "a: [b\n", 2, []string{"config.yaml"}},
		{"malformed CIDR", []string{"server", "--cluster-cidr", "10.42.0.0/33"}, "", 2, []string{"cluster-cidr", `10\.42\.0\.0/33`}},
		{"host bits", []string{"server", "--cluster-cidr", "10.42.0.0"}, "", 2, []string{"cluster-cidr", `10\.42\.0\.0`}},
		{"overlap", []string{"server", "--service-cidr", "10.42.128.0/20"}, "", 2, []string{"cluster-cidr", "service-cidr", "overlap"}},
		{"no room for DNS", []string{"server", "--service-cidr", "10.43.0.0/31"}, "", 2, []string{"service-cidr", `10\.43\.0\.0/31`}},
		{"DNS outside", []string{"server", "--cluster-dns", "10.44.0.10"}, "", 2, []string{"cluster-dns", `10\.44\.0\.10`, `10\.43\.0\.0/16`}},
		{"port out of range", []string{"server", "--https-listen-port", "70000"}, "", 2, []string{"https-listen-port", "70000", "65535"}},
		{"node name", []string{"server", "--node-name", "Not_A_Name"}, "", 2, []string{"node-name", "Not_A_Name"}},
		{"relative data directory", []string{"server", "--data-dir", "here"}, "", 2, []string{"data-dir", "here", "absolute"}},
		{"choice", []string{"server", "--log-format", "xml"}, "", 2, []string{"log-format", "xml", "text", "json"}},
		{
			"everything at once", []string{"server", "--cluster-cidr", "x/y", "--log-level", "loud"}, "https-listen-prt: 1\nnode-name: _\n", 2,
			[]string{"cluster-cidr", "log-level", "https-listen-prt", "https-listen-port", "node-name"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := n.Path("/etc/kedge/config.yaml")
			if err := os.WriteFile(file, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(file)
			code, said := n.failing(t, host.Spec{Args: c.args})
			expectError(t, code, said, c.code, c.words...)
		})
	}
	t.Run("registries.yaml", func(t *testing.T) {
		file := n.Path("/etc/kedge/registries.yaml")
		if err := os.WriteFile(file, []byte("mirrors: {docker.io: {endpoints: [x]}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(file)
		code, said := n.failing(t, host.Spec{Args: []string{"server"}})
		expectError(t, min(code, 1), said, 1, "registries.yaml", "endpoint")
	})
	t.Run("not root", func(t *testing.T) {
		code, said := n.failing(t, host.Spec{Args: []string{"server"}, User: 65534})
		expectError(t, code, said, 1, "root")
	})
	t.Run("port in use", func(t *testing.T) {
		for _, port := range []string{"6443", "10250"} {
			p, err := n.Start(host.Spec{Args: []string{"/bin/busybox", "nc", "-l", "-p", port}})
			if err != nil {
				t.Fatal(err)
			}
			host.Eventually(t, 10*time.Second, "port taken", func() error {
				if all := listeners(t, n); !strings.Contains(strings.Join(all, "\n"), ":"+port) {
					return fmt.Errorf("listening: %v", all)
				}
				return nil
			})
			code, said := n.failing(t, host.Spec{Args: []string{"server"}})
			expectError(t, code, said, 1, port, "busybox|nc")
			_ = p.Signal(syscall.SIGKILL)
			<-p.Done()
		}
	})
	t.Run("missing kernel feature", func(t *testing.T) {
		if r := n.Exec(t.Context(), "umount", "/sys/fs/cgroup/memory"); r.Code != 0 {
			t.Skip("the machine has cgroup v2 alone")
		}
		code, said := n.failing(t, host.Spec{Args: []string{"server"}})
		expectError(t, code, said, 1, "memory", "cgroup")
		n.Must(t, "mount", "-t", "cgroup", "-o", "memory", "cgroup", "/sys/fs/cgroup/memory")
	})
	t.Run("full disk", func(t *testing.T) { fullDisk(t, n) })
	t.Run("nothing was half written", func(t *testing.T) {
		if got := n.Must(t, "sh", "-c", "find /var/lib/kedge/server /var/lib/kedge/agent /etc/kedge -type f 2>/dev/null | grep -v -e lock; true"); strings.Contains(got, ".key") || strings.Contains(got, "tmp") {
			t.Errorf("written: %s", got)
		}
		n.putImage(t)
		n.start(t)
		n.waitReady(t)
	})
}

// fullDisk starts on a disk that is too small.
func fullDisk(t *testing.T, n *node) {
	n.Must(t, "mount", "-t", "tmpfs", "-o", "size=2m", "small", dataDir)
	code, said := n.failing(t, host.Spec{Args: []string{"server"}})
	expectError(t, code, said, 1, "disk", "free", dataDir)
	n.Must(t, "umount", dataDir)
}
