package balancer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inNode runs the calling test again as a process of its own in a fresh network namespace, the agent's machine, so that the
// test's own is not touched. The caller returns at once when it is false.
func inNode(t *testing.T) bool {
	t.Helper()
	const marker = "KEDGE_TEST_NODE"
	if os.Getenv(marker) == t.Name() {
		return true
	}
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", bytes.TrimSpace(out))
	if err != nil {
		t.Errorf("in the node's namespace: %v", err)
	}
	return false
}

// machine is a server in a network namespace of its own.
type machine struct {
	*fake
	ns netns.NsHandle
}

// newMachine links a namespace with the node, 10.9.n.1 to 10.9.n.2, and runs a server in it.
func newMachine(t *testing.T, n int) *machine {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	check(t, err)
	ns, err := netns.New() // enters it
	check(t, err)
	t.Cleanup(func() { _ = ns.Close() })
	m := &machine{ns: ns}
	link := fmt.Sprintf("to%d", n)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: link, PeerNamespace: netlink.NsFd(home)}
	check(t, netlink.LinkAdd(veth))
	address(t, "eth0", fmt.Sprintf("10.9.%d.2/24", n))
	m.fake = startFake(t, fmt.Sprintf("server-%d", n), fmt.Sprintf("10.9.%d.2:6443", n))
	check(t, netns.Set(home))
	check(t, home.Close())
	address(t, link, fmt.Sprintf("10.9.%d.1/24", n))
	return m
}

func address(t *testing.T, name, cidr string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	check(t, err)
	addr, err := netlink.ParseAddr(cidr)
	check(t, err)
	check(t, netlink.AddrAdd(link, addr))
	check(t, netlink.LinkSetUp(link))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cut makes the machine neither answer nor refuse, like one without power.
func (m *machine) cut(t *testing.T) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(m.ns)))
	check(t, err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "cut"})
	drop := nftables.ChainPolicyDrop
	c.AddChain(&nftables.Chain{
		Name: "input", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &drop,
	})
	check(t, c.Flush())
}

func (m *machine) mend(t *testing.T) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(m.ns)))
	check(t, err)
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "cut"})
	check(t, c.Flush())
}

// twoMachines returns the first and the second server of a running balancer's order.
func twoMachines(t *testing.T) (*Balancer, *machine, *machine) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	check(t, err)
	check(t, netlink.LinkSetUp(lo))
	one, two := newMachine(t, 1), newMachine(t, 2)
	b := run(t, Config{}, one.fake, two.fake)
	if ranked(b, one.fake, two.fake)[0] == one.fake {
		return b, one, two
	}
	return b, two, one
}

// limit is how long connections to a server without power may last: 2 s, and what a busy machine adds. The next longer limit is 15 s.
const limit = 4 * time.Second

// TestBlackhole: a server that loses its power while all connections are silent. They end within about two seconds,
// new ones go to the other server before that, and connections to the other server go on.
func TestBlackhole(t *testing.T) {
	if !inNode(t) {
		return
	}
	b, first, second := twoMachines(t)
	var watches []*client
	for range 10 {
		c := connectTo(t, b)
		if got := c.ask(t); got != first.name {
			t.Fatalf("answered by %q, want %s", got, first.name)
		}
		watches = append(watches, c)
	}
	b.SetServers([]string{second.address})
	healthy := connectTo(t, b)
	healthy.ask(t)
	b.SetServers([]string{first.address, second.address})
	first.cut(t)
	begin := time.Now()
	if got := who(t, b); got != second.name {
		t.Errorf("a new connection is answered by %q", got)
	}
	if took := time.Since(begin); took > dialTimeout {
		t.Errorf("a new connection took %s", took)
	} else {
		t.Logf("a new connection took %s", took)
	}
	for _, c := range watches {
		c.awaitEnd(t)
	}
	if took := time.Since(begin); took > limit {
		t.Errorf("silent connections lasted %s", took)
	} else {
		t.Logf("silent connections ended after %s", took)
	}
	if got := healthy.ask(t); got != second.name {
		t.Errorf("a connection to the other server is answered by %q", got)
	}
	first.mend(t)
	awaitWho(t, b, first.name)
}

// TestBlackholeSilent: the same without a new connection that could notice: one connection's probe is enough for all.
func TestBlackholeSilent(t *testing.T) {
	if !inNode(t) {
		return
	}
	b, first, second := twoMachines(t)
	var watches []*client
	for range 10 {
		c := connectTo(t, b)
		c.ask(t)
		watches = append(watches, c)
	}
	first.cut(t)
	begin := time.Now()
	for _, c := range watches {
		c.awaitEnd(t)
	}
	if took := time.Since(begin); took > limit {
		t.Errorf("silent connections lasted %s", took)
	} else {
		t.Logf("silent connections ended after %s", took)
	}
	if got := who(t, b); got != second.name {
		t.Errorf("a new connection is answered by %q", got)
	}
}

// TestBlackholeBusy: data that is not acknowledged is noticed too.
func TestBlackholeBusy(t *testing.T) {
	if !inNode(t) {
		return
	}
	b, first, _ := twoMachines(t)
	sentinel, busy := connectTo(t, b), connectTo(t, b)
	sentinel.ask(t)
	busy.ask(t)
	first.cut(t)
	if _, err := fmt.Fprintln(busy.conn, "write"); err != nil {
		t.Fatal(err)
	}
	if took := busy.awaitEnd(t); took > limit {
		t.Errorf("the connection lasted %s", took)
	} else {
		t.Logf("the connection ended after %s", took)
	}
	sentinel.awaitEnd(t)
}

// TestOnlyServer: with one server there is nowhere to go, so that an outage of seconds costs no connection.
func TestOnlyServer(t *testing.T) {
	if !inNode(t) {
		return
	}
	lo, err := netlink.LinkByName("lo")
	check(t, err)
	check(t, netlink.LinkSetUp(lo))
	only := newMachine(t, 1)
	b := run(t, Config{}, only.fake)
	c := connectTo(t, b)
	c.ask(t)
	only.cut(t)
	if _, err := fmt.Fprintln(c.conn, "later"); err != nil {
		t.Fatal(err)
	}
	check(t, c.conn.SetReadDeadline(time.Now().Add(3*time.Second))) // longer than any limit that applies to several servers
	if _, err := c.lines.ReadString('\n'); !isTimeout(err) {
		t.Fatalf("the connection does not survive the outage: %v", err)
	}
	only.mend(t)
	check(t, c.conn.SetReadDeadline(time.Now().Add(patience)))
	if line, err := c.lines.ReadString('\n'); err != nil || !strings.HasSuffix(line, "later\n") {
		t.Errorf("after the outage received %q, error %v", line, err)
	}
}
