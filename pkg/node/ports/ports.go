package ports

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/node/machine"
)

// Port is something kedge listens on.
type Port struct {
	Network string // "tcp" or "udp"
	Address string // to listen on; empty for all
	Number  int
	For     string // who listens
	Mend    string // what else to do than stop the holder, may be empty
}

// Holder is who holds a port.
type Holder struct {
	PID     int // 0 for the kernel and for processes that cannot be seen from here
	Command string
}

func (h Holder) String() string {
	if h.PID == 0 {
		return h.Command
	}
	return fmt.Sprintf("process %d (%s)", h.PID, h.Command)
}

// own tells by its name whether a link is kedge's: its overlay's port stays taken between two runs.
func own(link string) bool { return strings.HasPrefix(link, "kedge") || strings.HasPrefix(link, "kdg") }

// Server lists the ports of `kedge server` with the API server on the address and port given.
func Server(address string, number int) []Port {
	return []Port{
		{"tcp", address, number, "API server", "use another --https-listen-port"},
		{"tcp", "127.0.0.1", 10257, "controller-manager", "use another port: --kube-controller-manager-arg secure-port=N"},
		{"tcp", "127.0.0.1", 10259, "scheduler", "use another port: --kube-scheduler-arg secure-port=N"},
	}
}

// Agent lists the ports of the node's part; overlay is --overlay-backend.
func Agent(overlay string) []Port {
	all := []Port{
		{"tcp", "", 10250, "kubelet", ""},
		{"tcp", "127.0.0.1", 10248, "kubelet's health check", "use another port: --kubelet-arg healthz-port=N"},
	}
	if overlay == "vxlan" {
		all = append(all, Port{"udp", "", 8472, "overlay", "use --overlay-backend host-gw or none"})
	}
	return all
}

// Balancer is the port on which the parts of `kedge agent` reach the API servers.
func Balancer() Port { return Port{"tcp", "127.0.0.1", 6444, "balancer of the API servers", ""} }

func (p Port) String() string { return strconv.Itoa(p.Number) + "/" + p.Network }

// Holder tries to listen and returns who prevents it, nil when nobody does. Any other error than a taken port is
// returned: an address that this machine does not have, for example.
func (p Port) Holder() (*Holder, error) {
	err := p.listen()
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: %w", net.JoinHostPort(p.Address, p.String()), err)
	}
	inodes := sockets(p.Network, p.Number)
	for _, pid := range machine.PIDs() {
		if holdsSocket(pid, inodes) {
			return &Holder{PID: pid, Command: machine.Command(pid)}, nil
		}
	}
	if p.Network == "udp" {
		return vxlanHolder(p.Number)
	}
	return &Holder{Command: "a process that cannot be seen from here"}, nil
}

func (p Port) listen() error {
	address := net.JoinHostPort(p.Address, strconv.Itoa(p.Number))
	if p.Network == "udp" {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// vxlanHolder names the link that holds a UDP port in the kernel; kedge's own is no obstacle.
func vxlanHolder(number int) (*Holder, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	mine := false
	for _, l := range links {
		v, ok := l.(*netlink.Vxlan)
		switch {
		case !ok || v.Port != number:
		case own(v.Name):
			mine = true
		default:
			return &Holder{Command: "the VXLAN link " + v.Name}, nil
		}
	}
	if mine {
		return nil, nil
	}
	return &Holder{Command: "a process that cannot be seen from here, or the kernel"}, nil
}
