package host

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func TestHostIsItsOwnMachine(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	for _, c := range []struct{ name, script, want string }{
		{"host name", "cat /proc/sys/kernel/hostname", "host1"},
		{"PID 1", "tr '\\0' ' ' < /proc/1/cmdline", argInit},
		{"processes", "ls -d /proc/[0-9]* | wc -l | awk '{print ($1 < 8)}'", "1"},
		{"links", "ls /sys/class/net | tr '\\n' ' '", "eth0 lo"},
		{"run", "touch /run/x && stat -f -c %T /run", "tmpfs"},
		{"propagation", "grep -E '^[0-9]+ [0-9]+ [0-9:]+ / / ' /proc/self/mountinfo | grep -c shared:", "1"},
		{"covered mounts", "awk '{print $5}' /proc/self/mountinfo | grep -xE '/(proc|sys|run|sys/fs/cgroup|sys/fs/cgroup/memory)' | sort | uniq -d", ""},
		{"disk", "echo kept > /var/lib/kedge/x; cat " + h.Path("/var/lib/kedge/x"), "kept"},
		{"cgroup", "awk -F: '{print $3}' /proc/self/cgroup | sort -u", cgroupSeenInside(t)},
		{"environment", "env | cut -d= -f1 | grep -vE '^(_|SHLVL|OLDPWD)$' | sort | tr '\\n' ' '", "HOME LANG PATH PWD"},
		{"resolver", "cat /etc/resolv.conf", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.TrimSpace(h.Must(t, "sh", "-c", c.script)); got != c.want {
				t.Errorf("%s\n got %q\nwant %q", c.script, got, c.want)
			}
		})
	}
}

func cgroupSeenInside(t *testing.T) string {
	t.Helper()
	all, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 1 && all[0].V2 {
		return "/" + leafCgroup
	}
	return "/"
}

func TestProcesses(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	r := h.Run(t.Context(), Spec{Args: []string{"sh", "-c", "cat; echo err >&2; exit 3"}, Stdin: strings.NewReader("in\n"), Env: []string{"A=b"}})
	if want := (Result{Stdout: "in\n", Stderr: "err\n", Code: 3}); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if r := h.Run(t.Context(), Spec{Args: []string{"id", "-u"}, User: 65534}); r.Stdout != "65534\n" {
		t.Errorf("as another user: %+v", r)
	}
	if r := h.Exec(t.Context(), "no-such-program"); r.Err == nil || r.Code != -1 {
		t.Errorf("a missing program gave %+v", r)
	}
	var out bytes.Buffer
	p, err := h.Start(Spec{Args: []string{"sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	Eventually(t, 5*time.Second, "process runs", func() error {
		if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid())); err != nil {
			return err
		}
		return p.Signal(os.Interrupt) // ignored by a background shell, and proves it is ours
	})
	if err := p.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(t.Context()); code != -1 || err != nil {
		t.Errorf("killed process: code %d, err %v", code, err)
	}
}

func TestNetwork(t *testing.T) {
	lab := NewLab(t, 2)
	a, b := lab.Hosts[0], lab.Hosts[1]
	for _, c := range []struct {
		name string
		ip   net.IP
		dial *Host
	}{{"v4", b.IP(), a}, {"v6", b.IP6(), a}} {
		t.Run(c.name, func(t *testing.T) {
			address := net.JoinHostPort(c.ip.String(), "8080")
			l, err := b.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			greet(t, l, func() (net.Conn, error) { return a.Dial(t.Context(), "tcp", address) }, a.IP(), a.IP6())
			greet(t, l, func() (net.Conn, error) { return lab.Switch.Dial(t.Context(), "tcp", address) }, lab.Switch.Address(), lab.Switch.Address6())
		})
	}
	t.Run("outside", func(t *testing.T) {
		l, err := lab.Switch.Listen("tcp", net.JoinHostPort(lab.Switch.Outside().String(), "80"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		greet(t, l, func() (net.Conn, error) { return a.Dial(t.Context(), "tcp", l.Addr().String()) }, a.IP(), a.IP6())
	})
}

// greet connects and expects to be seen with one of the given addresses.
func greet(t *testing.T, l net.Listener, dial func() (net.Conn, error), want ...net.IP) {
	t.Helper()
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		if w.Equal(net.ParseIP(string(seen))) {
			return
		}
	}
	t.Errorf("seen as %s, want one of %v", seen, want)
}

func TestCutAndMend(t *testing.T) {
	lab := NewLab(t, 1)
	h := lab.Hosts[0]
	state := func(want string) {
		t.Helper()
		Eventually(t, 10*time.Second, "carrier", func() error {
			if got := strings.TrimSpace(h.Exec(t.Context(), "cat", "/sys/class/net/eth0/carrier").Stdout); got != want {
				return fmt.Errorf("carrier %q, want %q", got, want)
			}
			return nil
		})
	}
	state("1")
	if err := h.Cut(); err != nil {
		t.Fatal(err)
	}
	state("0")
	if err := h.Mend(); err != nil {
		t.Fatal(err)
	}
	state("1")
}

func TestPowerCut(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	h.Must(t, "sh", "-c", "echo kept > /var/lib/kedge/disk; touch /run/gone; setsid sleep 1000 >/dev/null 2>&1 & mkdir -p /sys/fs/cgroup/memory/pods/x 2>/dev/null; true")
	before := h.PID()
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(before)); err == nil {
		t.Error("PID 1 is still there")
	}
	if r := h.Exec(t.Context(), "true"); r.Err == nil {
		t.Error("a process ran on a host without power")
	}
	if err := h.Boot(); err != nil {
		t.Fatal(err)
	}
	got := h.Must(t, "sh", "-c", "cat /var/lib/kedge/disk; ls /run/gone 2>&1 | wc -l; cat /proc/[0-9]*/comm | grep -cx sleep; true")
	if want := "kept\n1\n0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOptions(t *testing.T) {
	h := NewLab(t, 1, Options{NoRoute: true, ReadOnlyNet: true, Resolver: "192.0.2.1"}).Hosts[0]
	got := h.Must(t, "sh", "-c", "awk '$2==\"00000000\"' /proc/net/route; cat /etc/resolv.conf; echo 1 2>/dev/null > /proc/sys/net/ipv4/ip_forward || echo read-only")
	if want := "nameserver 192.0.2.1\nread-only\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPath(t *testing.T) {
	h := &Host{disk: "/lab/host1"}
	for inside, want := range map[string]string{
		"/var/lib/kedge":            "/lab/host1/kedge",
		"/var/lib/kedge/images/a":   "/lab/host1/kedge/images/a",
		"/var/lib/kedgeling":        "/var/lib/kedgeling",
		"/etc/hosts":                "/lab/host1/hosts",
		"/etc/kedge/config.yaml":    "/lab/host1/etc-kedge/config.yaml",
		"/usr/bin/true":             "/usr/bin/true",
		filepath.Clean("/etc//cni"): "/lab/host1/etc-cni",
	} {
		if got := h.Path(inside); got != want {
			t.Errorf("Path(%s) = %s, want %s", inside, got, want)
		}
	}
}
