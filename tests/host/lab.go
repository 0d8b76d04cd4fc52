package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Options describe the hosts of a lab. The zero value is a host with a default route and no resolver.
type Options struct {
	Resolver    string // a name server for resolv.conf; empty: none
	NoRoute     bool   // no default route
	ReadOnlyNet bool   // /proc/sys/net cannot be written; forwarding is on already
}

// Lab is a set of hosts on one switch.
type Lab struct {
	Hosts  []*Host
	Switch *Switch

	dir  string   // holds the hosts' disks
	lock *os.File // locked while the owner lives
	tag  string   // names the lab's cgroups
	opts Options
	all  []hierarchy
}

// Switch is the place outside the hosts: the gateway of their network, and the rest of the world (Outside).
type Switch struct {
	*power
	subnet subnet
}

// NewLab makes n booted hosts named host1 to hostN and removes everything when the test ends.
func NewLab(t testing.TB, n int, options ...Options) *Lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make hosts")
	}
	lab, err := New(n, options...)
	if err != nil {
		t.Fatalf("make lab: %v", err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Errorf("remove lab: %v", err)
		}
	})
	return lab
}

// New is NewLab for programs that are not tests. The caller must Close the lab.
func New(n int, options ...Options) (*Lab, error) {
	if n < 1 || n >= gateway {
		return nil, fmt.Errorf("make lab of %d hosts: from 1 to %d are possible", n, gateway-1)
	}
	if err := sweep(); err != nil {
		return nil, fmt.Errorf("remove what a killed run left: %w", err)
	}
	lab, err := newLab(options)
	if err != nil {
		return nil, err
	}
	for i := 1; i <= n; i++ {
		h := &Host{Name: fmt.Sprintf("host%d", i), lab: lab, index: i, disk: filepath.Join(lab.dir, fmt.Sprintf("host%d", i))}
		lab.Hosts = append(lab.Hosts, h)
	}
	for _, h := range lab.Hosts {
		if err := errors.Join(h.makeDisk(), h.Boot()); err != nil {
			return nil, errors.Join(err, lab.Close())
		}
	}
	return lab, nil
}

func newLab(options []Options) (*Lab, error) {
	lab := &Lab{}
	if len(options) > 0 {
		lab.opts = options[0]
	}
	var err error
	if lab.all, err = hierarchies(); err != nil {
		return nil, err
	}
	lab.tag = newTag()
	if lab.dir, lab.lock, err = makeLabDir(lab.tag); err != nil {
		return nil, err
	}
	number := subnet(lab.tag[len(lab.tag)-1]) // hosts of different labs never meet, so any number will do
	sw, err := lab.powerOn(bootConfig{Name: "switch", Bare: true}, lab.dir, func(ns *os.File) error { return buildSwitch(ns, number) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("build switch: %w", err), lab.Close())
	}
	lab.Switch = &Switch{sw, number}
	return lab, nil
}

// Close ends all hosts and removes everything that belongs to the lab.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range l.Hosts {
		errs = append(errs, h.Kill())
	}
	if l.Switch != nil {
		errs = append(errs, l.Switch.off())
	}
	var dirs []string
	for _, h := range l.all {
		dirs = append(dirs, filepath.Join(h.Own, l.tag))
	}
	return errors.Join(append(errs, removeCgroups(dirs), removeLabDir(l.dir, l.lock))...)
}

// Address is the switch's address on the hosts' network.
func (s *Switch) Address() net.IP { return s.subnet.v4(gateway) }

// Address6 is the switch's IPv6 address on the hosts' network.
func (s *Switch) Address6() net.IP { return s.subnet.v6(gateway) }

// Outside is an address of the switch that hosts reach by their default route only.
func (s *Switch) Outside() net.IP { return outside()[0].IP }

// Outside6 is the IPv6 address that hosts reach by their default route only.
func (s *Switch) Outside6() net.IP { return outside()[1].IP }

// Exec runs a program at the switch. It sees the machine's files and processes, and the switch's network.
func (s *Switch) Exec(ctx context.Context, args ...string) Result {
	return s.run(ctx, Spec{Args: args})
}

// Start starts a program at the switch.
func (s *Switch) Start(spec Spec) (*Process, error) { return s.start(context.Background(), spec) }

// Listen listens at the switch, in the test's own process.
func (s *Switch) Listen(network, address string) (net.Listener, error) {
	return s.listen(network, address)
}

// ListenPacket listens for datagrams at the switch, in the test's own process.
func (s *Switch) ListenPacket(network, address string) (net.PacketConn, error) {
	return s.listenPacket(network, address)
}

// Dial connects from the switch to a numeric address, in the test's own process.
func (s *Switch) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return s.dial(ctx, network, address)
}
