package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/cni/wire"
)

// maxPluginSize is what kedge-cni may weigh: it is read from disk for every pod.
const maxPluginSize = 4 << 20

// TestPlugin runs kedge-cni as the runtime does and compares all that it prints.
func TestPlugin(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	cfg := testConfig(t)
	program := buildPlugin(t)
	run := func(version, command, id, netns string, more string) (string, int) {
		return runPlugin(t, program, fmt.Sprintf(`{"cniVersion":%q,"name":"kedge","type":"kedge-cni","socket":%q%s}`, version, cfg.Socket, more),
			"CNI_COMMAND="+command, "CNI_CONTAINERID="+id, "CNI_NETNS="+netns, "CNI_IFNAME=eth0", "CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME=web")
	}
	a, b := newSpace(t), newSpace(t)
	replace := strings.NewReplacer(cfg.Socket, "SOCKET", a.path, "NETNS-A", b.path, "NETNS-B",
		hostLinkName("a", "eth0"), "LINK-A", podMAC("a", "eth0").String(), "MAC-A").Replace
	step := func(wantStatus int, want string) func(string, int) {
		return func(got string, status int) {
			t.Helper()
			if got = replace(strings.TrimSpace(got)); got != want || status != wantStatus {
				t.Errorf("status %d, printed\n%s\nwant status %d and\n%s", status, got, wantStatus, want)
			}
		}
	}

	step(0, `{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}`)(run("1.1.0", "VERSION", "", "", ""))
	step(1, `{"cniVersion":"1.0.0","code":11,"msg":"reach kedge at SOCKET: there is no socket","details":"kedge is not running or still starting; the call is repeated"}`)(run("1.0.0", "ADD", "a", a.path, ""))
	step(1, `{"cniVersion":"1.1.0","code":50,"msg":"reach kedge at SOCKET: there is no socket","details":"kedge is not running or still starting; the call is repeated"}`)(run("1.1.0", "STATUS", "", "", ""))
	step(1, `{"cniVersion":"1.0.0","code":1,"msg":"cniVersion is \"0.4.0\"","details":"kedge-cni speaks 1.0.0 and 1.1.0"}`)(run("0.4.0", "ADD", "a", a.path, ""))
	step(1, `{"cniVersion":"1.0.0","code":4,"msg":"CNI_COMMAND is \"PLAY\"","details":"want ADD, DEL, CHECK, STATUS, GC or VERSION"}`)(run("1.0.0", "PLAY", "a", a.path, ""))
	step(1, `{"cniVersion":"1.0.0","code":6,"msg":"decode network configuration","details":"unexpected end of JSON input"}`)(runPlugin(t, program, "", "CNI_COMMAND=ADD"))

	n := start(t, cfg)
	step(1, `{"cniVersion":"1.1.0","code":50,"msg":"`+notConfigured+`"}`)(run("1.1.0", "STATUS", "", "", ""))
	check(t, n.SetPodCIDRs(prefixes("10.42.7.0/24", "fd00:42:0:7::/64")))
	step(0, ``)(run("1.1.0", "STATUS", "", "", ""))
	const added = `{"cniVersion":"1.0.0","interfaces":[{"name":"LINK-A","mac":"0e:6b:65:64:67:65"},{"name":"eth0","mac":"MAC-A","sandbox":"NETNS-A"}],` +
		`"ips":[{"address":"10.42.7.2/32","gateway":"169.254.1.1","interface":1},{"address":"fd00:42:0:7::2/128","gateway":"fe80::1","interface":1}],` +
		`"routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},{"dst":"::/0","gw":"fe80::1"}],"dns":{}}`
	runtimeConfig := `,"runtimeConfig":{"portMappings":[{"hostPort":30080,"containerPort":8080,"protocol":"tcp"}]}`
	step(0, added)(run("1.0.0", "ADD", "a", a.path, runtimeConfig))
	step(1, `{"cniVersion":"1.0.0","code":100,"msg":"container a has eth0 already, with [10.42.7.2 fd00:42:0:7::2]: call DEL first"}`)(run("1.0.0", "ADD", "a", a.path, ""))
	step(0, ``)(run("1.0.0", "CHECK", "a", a.path, `,"prevResult":`+strings.NewReplacer("NETNS-A", a.path).Replace(added)))
	step(1, `{"cniVersion":"1.0.0","code":3,"msg":"container x has no eth0"}`)(run("1.0.0", "CHECK", "x", a.path, ""))

	step(0, strings.NewReplacer(
		`"1.0.0"`, `"1.1.0"`, "LINK-A", hostLinkName("b", "eth0"), "67:65\"}", "67:65\",\"mtu\":1430}", "MAC-A\",", "02:00:00:00:00:07\",\"mtu\":1430,",
		"NETNS-A", "NETNS-B", "10.42.7.2/", "10.42.7.99/", "7::2/", "7::3/",
	).Replace(added))(run("1.1.0", "ADD", "b", b.path, `,"runtimeConfig":{"ips":["10.42.7.99/24"],"mac":"02:00:00:00:00:07"}`))
	step(0, ``)(run("1.1.0", "GC", "", "", `,"cni.dev/valid-attachments":[{"containerID":"b","ifname":"eth0"}]`))
	step(1, `{"cniVersion":"1.0.0","code":3,"msg":"container a has no eth0"}`)(run("1.0.0", "CHECK", "a", a.path, ""))
	step(0, ``)(run("1.0.0", "DEL", "a", a.path, ""))
	step(0, ``)(run("1.0.0", "DEL", "b", "", ""))
	n.stop()
	step(1, `{"cniVersion":"1.0.0","code":11,"msg":"reach kedge at SOCKET: there is no socket","details":"kedge is not running or still starting; the call is repeated"}`)(run("1.0.0", "DEL", "b", "", ""))
}

func buildPlugin(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command: it builds kedge-cni")
	}
	program := filepath.Join(t.TempDir(), pluginName)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "kedge/cmd/kedge-cni")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build kedge-cni: %v\n%s", err, out)
	}
	size := must(os.Stat(program))(t).Size()
	t.Logf("kedge-cni has %d bytes", size)
	if size > maxPluginSize {
		t.Errorf("kedge-cni has %d bytes, want at most %d", size, maxPluginSize)
	}
	return program
}

func runPlugin(t testing.TB, program, stdin string, env ...string) (stdout string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stdin, cmd.Env = strings.NewReader(stdin), env
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if errOut.Len() > 0 {
		t.Errorf("kedge-cni wrote to standard error: %s", errOut.String())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestPluginSignals: a signal while kedge-cni waits for a place in the queue of kedge's socket does not fail the call.
func TestPluginSignals(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "cni.sock")
	fd := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))(t)
	file := os.NewFile(uintptr(fd), socket)
	defer func() { _ = file.Close() }()
	check(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	check(t, unix.Listen(fd, 0)) // the queue has one place
	first := must(net.Dial("unix", socket))(t)
	defer func() { _ = first.Close() }()

	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), buildPlugin(t))
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"kedge","type":"kedge-cni","socket":%q}`, socket))
	cmd.Env, cmd.Stdout = []string{"CNI_COMMAND=STATUS"}, &out
	check(t, cmd.Start())
	for range 3 {
		check(t, unix.Tgkill(cmd.Process.Pid, connecting(t, cmd.Process.Pid), unix.SIGURG))
	}
	listener := must(net.FileListener(file))(t)
	defer func() { _ = listener.Close() }()
	check(t, must(listener.Accept())(t).Close())
	call := must(listener.Accept())(t)
	var request wire.Request
	check(t, json.NewDecoder(call).Decode(&request))
	check(t, json.NewEncoder(call).Encode(wire.Response{}))
	check(t, call.Close())
	if err := cmd.Wait(); err != nil || request.Command != "STATUS" {
		t.Errorf("call %q: %v: %s", request.Command, err, out.String())
	}
}

// connecting waits for a thread of the process that waits in connect(2), and returns its number.
func connecting(t *testing.T, pid int) (thread int) {
	t.Helper()
	prefix := strconv.Itoa(unix.SYS_CONNECT) + " "
	eventually(t, func() bool {
		for _, name := range must(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid)))(t) {
			if call, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(call), prefix) {
				thread = must(strconv.Atoi(filepath.Base(filepath.Dir(name))))(t)
				return true
			}
		}
		return false
	})
	return thread
}

// TestRefused: what cannot be done says why, and leaves nothing behind.
func TestRefused(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	cfg := testConfig(t)
	cfg.LocalAddresses = nil // the kernel adds routes of IPv6 addresses a moment later
	n := start(t, cfg)
	check(t, n.SetPodCIDRs(prefixes("10.42.7.0/29")))
	before := snapshot(t)
	pod, taken := newSpace(t), newSpace(t)
	check(t, taken.handle(t).LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0", TxQLen: -1}}))
	replace := strings.NewReplacer(taken.path, "NETNS", hostLinkName("web", "eth0"), "LINK").Replace
	tests := []struct {
		id, netns string
		rt        wire.Runtime
		code      wire.Code
		want      string
	}{
		{"", pod.path, wire.Runtime{}, wire.CodeEnvironment, `CNI_CONTAINERID is "": the CNI specification, section 2, says what is allowed`},
		{"../x", pod.path, wire.Runtime{}, wire.CodeEnvironment, `CNI_CONTAINERID is "../x": the CNI specification, section 2, says what is allowed`},
		{"web", "", wire.Runtime{}, wire.CodeEnvironment, `CNI_NETNS is empty: the CNI specification, section 2, says what is allowed`},
		{"web", "/no/such", wire.Runtime{}, wire.CodeEnvironment, `open network namespace /no/such: no such file or directory`},
		{"web", "/proc/self/ns/net", wire.Runtime{}, wire.CodeEnvironment, `CNI_NETNS /proc/self/ns/net is the host's network namespace`},
		{"web", taken.path, ports("tcp 80 80"), wire.CodeInternal, `create veth pair LINK and eth0 in NETNS: file exists`},
		{"web", pod.path, ports("icmp 80 80"), wire.CodeConfig, `runtimeConfig.portMappings: host port 80: protocol "icmp" is not tcp, udp or sctp`},
		{"web", pod.path, ports("tcp 80 80 localhost"), wire.CodeConfig, `runtimeConfig.portMappings: host port 80: hostIP: ParseAddr("localhost"): unable to parse IP`},
		{"web", pod.path, wire.Runtime{MAC: "x"}, wire.CodeConfig, `runtimeConfig.mac: address x: invalid MAC address`},
		{"web", pod.path, wire.Runtime{IPs: []string{"10.42.7.1"}}, wire.CodeAgain, `address 10.42.7.1 of pod CIDR 10.42.7.0/29 is in use or reserved`},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			r := n.call(t, "ADD", tt.id, tt.netns, tt.rt)
			if r.Error == nil {
				t.Fatalf("ADD succeeds: %s", r.Result)
			}
			expect(t, replace(r.Error.Error()), tt.want)
			expect(t, r.Error.Code, tt.code)
			if diff := cmp.Diff(before, snapshot(t)); diff != "" {
				t.Errorf("it leaves (-before +after):\n%s", diff)
			}
			expect(t, len(must(filepath.Glob(filepath.Join(n.cfg.StateDir, "pods", "*")))(t)), 0)
		})
	}
}

// TestExhausted: addresses of pods that vanished without DEL are found again when they are needed.
func TestExhausted(t *testing.T) {
	if !inNode(t) {
		return
	}
	newOutside(t)
	n := start(t, testConfig(t))
	check(t, n.SetPodCIDRs(prefixes("10.42.7.0/29")))
	for i := range 5 {
		if r := n.call(t, "ADD", fmt.Sprint("pod", i), newSpace(t).path, wire.Runtime{}); r.Error != nil {
			t.Fatal(r.Error)
		}
	}
	last := newSpace(t)
	r := n.call(t, "ADD", "more", last.path, wire.Runtime{})
	expect(t, r.Error.Error(), "all addresses of pod CIDR 10.42.7.0/29 are in use (5 pods)")
	check(t, unplumb(n.links, hostLinkName("pod1", "eth0")))
	r = n.call(t, "ADD", "more", last.path, wire.Runtime{})
	var result wire.Result
	check(t, json.Unmarshal(r.Result, &result))
	expect(t, result.IPs[0].Address.String(), "10.42.7.3/32")
}

// TestNoIPv6: on a host without IPv6 the pods get addresses of IPv4 only.
func TestNoIPv6(t *testing.T) {
	if !inNode(t) {
		return
	}
	out := newOutside(t)
	check(t, os.WriteFile(linkSysctl6+"all"+disableIPv6, []byte("1"), 0o600))
	n := startDual(t, testConfig(t))
	a, b := n.addPod(t, "a", ports("tcp 30080 8080")), n.addPod(t, "b", wire.Runtime{})
	expect(t, a.ip6, "")
	expect(t, a.ask(t, "tcp", net.JoinHostPort(b.ip4, "8080")), a.ip4)
	expect(t, out.ask(t, "tcp", nodeIP4+":30080"), outsideIP4)
	expect(t, a.ask(t, "tcp", nodeIP4+":30080"), nodeIP4)
}
