package ports

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestHolderOfOwnSockets(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, p := range []Port{
		{Network: "tcp", Address: "127.0.0.1", Number: tcp.Addr().(*net.TCPAddr).Port},
		{Network: "tcp", Number: tcp.Addr().(*net.TCPAddr).Port},
		{Network: "udp", Number: udp.LocalAddr().(*net.UDPAddr).Port},
	} {
		h, err := p.Holder()
		if err != nil || h == nil || h.PID != os.Getpid() || !strings.Contains(h.String(), "ports.test") {
			t.Errorf("%s: got %v, %v", p, h, err)
		}
	}
}

func TestHolderOfFreePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err := (Port{Network: "tcp", Address: "127.0.0.1", Number: number}).Holder(); h != nil || err != nil {
		t.Errorf("got %v, %v", h, err)
	}
}

func TestHolderOfForeignAddress(t *testing.T) {
	_, err := (Port{Network: "tcp", Address: "192.0.2.1", Number: 6443}).Holder()
	if err == nil || !strings.HasPrefix(err.Error(), "listen on 192.0.2.1:6443/tcp: ") {
		t.Errorf("got %v", err)
	}
}

func TestHolderOfVXLANLink(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	for name, want := range map[string]string{"flannel.1": "the VXLAN link flannel.1", "kedge-vxlan": ""} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread() // keeps the first thread, should this be it, from what follows
			defer runtime.UnlockOSThread()
			done := make(chan struct{})
			go func() { // the thread ends with the goroutine and the namespace with the thread
				defer close(done)
				runtime.LockOSThread()
				if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
					t.Error(err)
					return
				}
				link := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: name}, VxlanId: 1, Port: 8472}
				if err := netlink.LinkAdd(link); err != nil {
					t.Error(err)
					return
				}
				if err := netlink.LinkSetUp(link); err != nil {
					t.Error(err)
				}
				h, err := (Port{Network: "udp", Number: 8472}).Holder()
				got := ""
				if h != nil {
					got = h.String()
				}
				if got != want || err != nil {
					t.Errorf("got %q %v, want %q", got, err, want)
				}
			}()
			<-done
		})
	}
}

func TestParseSockets(t *testing.T) {
	text := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:192B 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 00000000:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
`
	got := map[string]bool{}
	parseSockets(text, tcpListen, 6443, got)
	if d := cmp.Diff(map[string]bool{"socket:[4711]": true}, got); d != "" {
		t.Error(d)
	}
}

func TestLists(t *testing.T) {
	var got []string
	for _, p := range append(Server("192.0.2.1", 6444), Agent("vxlan")...) {
		got = append(got, p.String()+" "+p.For)
	}
	want := []string{"6444/tcp API server", "10257/tcp controller-manager", "10259/tcp scheduler", "10250/tcp kubelet", "10248/tcp kubelet's health check", "8472/udp overlay"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := len(Agent("none")); n != 2 {
		t.Errorf("without overlay: %d ports", n)
	}
}
