package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBoot(t *testing.T) {
	n := newNode(t)
	notify := filepath.Join(n.Home(), "notify.sock")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	n.startWith(t, []string{"NOTIFY_SOCKET=" + notify})

	t.Run("notifies the service manager when ready", func(t *testing.T) {
		go func() { // an end of the server ends the wait
			<-n.server.Done()
			socket.Close()
		}()
		states := readStates(t, socket)
		if states[len(states)-1] != "READY=1" {
			t.Fatalf("states %q, want READY=1", states)
		}
		if err := n.isReady(t.Context()); err != nil {
			t.Errorf("READY=1 came while %v", err)
		}
	})
	n.waitReady(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *node)
	}{
		{"kubeconfig is private", testKubeconfigMode},
		{"says once that it is ready", testReadyLine},
		{"open ports", testOpenPorts},
		{"etcd is not reachable", testEtcdClosed},
		{"status", testStatus},
		{"versions", testVersions},
		{"links", testLinks},
		{"check", testCheck},
		{"second server", testSecondServer},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, n) })
	}
	t.Run("stops", func(t *testing.T) {
		if code, took := n.terminate(t); code != 0 || took > 10*time.Second {
			t.Errorf("exit status %d after %s, want 0 within 10 s", code, took)
		}
		r := n.kedge(t, "status")
		if r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, "not running") {
			t.Errorf("status of a stopped server: %+v", r)
		}
	})
}

// readStates reads what the service manager is told until it is told READY=1.
func readStates(t *testing.T, socket *net.UnixConn) []string {
	t.Helper()
	if err := socket.SetReadDeadline(time.Now().Add(startLimit)); err != nil {
		t.Fatal(err)
	}
	var states []string
	buf := make([]byte, 4096)
	for {
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("states %q, then %v", states, err)
		}
		for s := range strings.SplitSeq(string(buf[:n]), "\n") {
			states = append(states, s)
			if s == "READY=1" {
				return states
			}
		}
	}
}

func testKubeconfigMode(t *testing.T, n *node) {
	info, err := os.Stat(n.Path(kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
}

func testReadyLine(t *testing.T, n *node) {
	lines := regexp.MustCompile(`(?m)^.*node is ready.*$`).FindAllString(n.log(t), -1)
	if len(lines) != 1 {
		t.Fatalf("%d lines say that the node is ready: %q", len(lines), lines)
	}
	m := regexp.MustCompile(`seconds=([0-9.]+)`).FindStringSubmatch(lines[0])
	if m == nil {
		t.Fatalf("%q has no seconds", lines[0])
	}
	if s, err := strconv.ParseFloat(m[1], 64); err != nil || s <= 0 || s > startLimit.Seconds() {
		t.Errorf("%s seconds", m[1])
	}
}

// listeners returns the sockets that wait on a host, as "tcp 127.0.0.1:80".
func listeners(t *testing.T, n *node) []string {
	t.Helper()
	var found []string
	for _, file := range []string{"tcp", "tcp6", "udp", "udp6"} {
		for line := range strings.Lines(n.Must(t, "cat", "/proc/net/"+file)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[0] == "sl" || strings.HasPrefix(file, "tcp") && f[3] != "0A" || strings.HasPrefix(file, "udp") && f[3] != "07" {
				continue
			}
			address, err := kernelAddress(f[1])
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, strings.TrimSuffix(file, "6")+" "+address)
		}
	}
	return found
}

// kernelAddress decodes an address of /proc/net: 32-bit words in the machine's byte order, a colon, the port.
func kernelAddress(text string) (string, error) {
	host, port, _ := strings.Cut(text, ":")
	ip := make(net.IP, 0, 16)
	for i := 0; i+8 <= len(host); i += 8 {
		word, err := strconv.ParseUint(host[i:i+8], 16, 32)
		if err != nil {
			return "", fmt.Errorf("parse %s: %w", text, err)
		}
		ip = append(ip, byte(word), byte(word>>8), byte(word>>16), byte(word>>24))
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return "", fmt.Errorf("parse %s: %w", text, err)
	}
	return net.JoinHostPort(ip.String(), strconv.FormatUint(p, 10)), nil
}

// testOpenPorts accepts what the design names: the API server, the kubelet, the overlay, and DNS on its own address.
func testOpenPorts(t *testing.T, n *node) {
	open := map[string]bool{}
	for _, l := range listeners(t, n) {
		network, address, _ := strings.Cut(l, " ")
		h, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		if ip := net.ParseIP(h); ip.IsLoopback() || h == "10.43.0.10" && port == "53" {
			continue
		}
		open[network+" "+port] = true
	}
	for _, want := range []string{"tcp 6443", "tcp 10250"} {
		if !open[want] {
			t.Errorf("%s is not open", want)
		}
		delete(open, want)
	}
	delete(open, "udp 8472")
	if len(open) > 0 {
		t.Errorf("also open to others: %v", open)
	}
}

// testEtcdClosed speaks to everything on loopback without a certificate and expects that nothing answers as etcd does.
func testEtcdClosed(t *testing.T, n *node) {
	asked := 0
	for _, l := range listeners(t, n) {
		address, ok := strings.CutPrefix(l, "tcp ")
		if !ok {
			continue
		}
		_, port, _ := net.SplitHostPort(address)
		for _, scheme := range []string{"http", "https"} {
			for _, path := range []string{"/version", "/v3/kv/range", "/members"} {
				asked++
				if body := ask(t, n, scheme+"://127.0.0.1:"+port+path); strings.Contains(body, "etcd") || strings.Contains(body, "raft") {
					t.Errorf("%s %s%s answers as etcd: %.200s", scheme, address, path, body)
				}
			}
		}
	}
	if asked == 0 {
		t.Error("nothing listens at all")
	}
}

func ask(t *testing.T, n *node, url string) string {
	t.Helper()
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // whoever answers, it is the answer that counts
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.Dial(ctx, network, address)
		},
	}}
	resp, err := client.Post(url, "application/json", strings.NewReader(`{"key":"AA==","range_end":"AA=="}`))
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return ""
	}
	return string(body)
}

func testStatus(t *testing.T, n *node) {
	r := n.kedge(t, "status")
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"host1", n.IP().String(), "etcd", "apiserver", "kubelet", "containerd", "scheduler", "controller-manager", "ready", "v1.36.3"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("status does not show %q:\n%s", want, r.Stdout)
		}
	}
	r = n.kedge(t, "status", "-o", "json")
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	var s struct {
		Healthy bool `json:"healthy"`
		Node    struct {
			Name      string   `json:"name"`
			Ready     bool     `json:"ready"`
			Addresses []string `json:"addresses"`
			PodCIDRs  []string `json:"podCIDRs"`
		} `json:"node"`
		Components []struct {
			Name  string    `json:"name"`
			State string    `json:"state"`
			Since time.Time `json:"since"`
		} `json:"components"`
		Datastore    string `json:"datastore"`
		ProxyMode    string `json:"proxyMode"`
		Certificates []struct {
			NotAfter time.Time `json:"notAfter"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
		t.Fatalf("%v:\n%s", err, r.Stdout)
	}
	if !s.Healthy || !s.Node.Ready || s.Node.Name != "host1" || len(s.Node.PodCIDRs) != 1 || s.Datastore == "" || s.ProxyMode == "" || len(s.Certificates) < 10 {
		t.Errorf("status: %+v", s)
	}
	for _, c := range s.Components {
		if c.State != "ready" || time.Since(c.Since) > time.Hour {
			t.Errorf("component %+v", c)
		}
	}
}

func testVersions(t *testing.T, n *node) {
	var v struct {
		Client, Server struct {
			GitVersion string `json:"gitVersion"`
		}
	}
	var out struct {
		Client json.RawMessage `json:"clientVersion"`
		Server json.RawMessage `json:"serverVersion"`
	}
	if err := json.Unmarshal([]byte(n.kubectl(t, "version", "-o", "json")), &out); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(json.Unmarshal(out.Client, &v.Client), json.Unmarshal(out.Server, &v.Server)); err != nil {
		t.Fatal(err)
	}
	kubelet := n.kubectl(t, "get", "node", "host1", "-o", "jsonpath={.status.nodeInfo.kubeletVersion}")
	for what, got := range map[string]string{"client": v.Client.GitVersion, "server": v.Server.GitVersion, "kubelet": kubelet} {
		if !strings.HasPrefix(got, "v1.36.3+kedge") {
			t.Errorf("%s version %q, want v1.36.3+kedge…", what, got)
		}
	}
	r := n.kedge(t, "version")
	if err := r.Check(); err != nil || !strings.Contains(r.Stdout, "kedge") {
		t.Errorf("kedge version: %v %q", err, r.Stdout)
	}
}

func testLinks(t *testing.T, n *node) {
	if got := n.Must(t, "/run/bin/kubectl", "get", "nodes", "-o", "name"); got != "node/host1\n" {
		t.Errorf("kubectl as a link: %q", got)
	}
	if got := n.Must(t, "/run/bin/ctr", "namespaces", "ls", "-q"); !strings.Contains(got, "k8s.io") {
		t.Errorf("ctr as a link: %q", got)
	}
	if r := n.kedge(t, "ctr", "--namespace", "k8s.io", "images", "ls", "-q"); r.Check() != nil || !strings.Contains(r.Stdout, "pause") {
		t.Errorf("kedge ctr: %+v", r)
	}
}

func testCheck(t *testing.T, n *node) {
	r := n.kedge(t, "check")
	for _, want := range []string{"overlay", "cgroup", "6443", "clock", "CAP_"} {
		if !strings.Contains(strings.ToLower(r.Stdout), strings.ToLower(want)) {
			t.Errorf("check does not mention %s", want)
		}
	}
	if r.Err != nil || t.Failed() {
		t.Errorf("kedge check: %v\n%s%s", r.Err, r.Stdout, r.Stderr)
	}
}

func testSecondServer(t *testing.T, n *node) {
	r := n.kedge(t, "server")
	// The server is a child of the test: inside the host its process id is another one.
	inside := strings.TrimSpace(n.Must(t, "pgrep", "-o", "-f", "^"+kedge+" server"))
	said := r.Stdout + r.Stderr
	if r.Code != 1 || !strings.Contains(said, "process "+inside) || !strings.Contains(said, dataDir) {
		t.Errorf("second server on the same directory (holder is %s): exit status %d\n%s", inside, r.Code, said)
	}
	if err := n.isReady(t.Context()); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}
