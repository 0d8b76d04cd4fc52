package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Host is one machine of a lab.
type Host struct {
	Name string

	lab   *Lab
	index int
	disk  string // its directory on the machine

	mu    sync.Mutex
	power *power // nil when off
}

// IP is the host's address.
func (h *Host) IP() net.IP { return h.lab.Switch.subnet.v4(byte(h.index)) }

// IP6 is the host's IPv6 address.
func (h *Host) IP6() net.IP { return h.lab.Switch.subnet.v6(byte(h.index)) }

// makeDisk creates what survives a power cut.
func (h *Host) makeDisk() error {
	for name := range disks() {
		if err := os.MkdirAll(filepath.Join(h.disk, name), 0o755); err != nil {
			return fmt.Errorf("make disk: %w", err)
		}
	}
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, o := range h.lab.Hosts {
		fmt.Fprintf(&hosts, "%s %s\n", o.IP(), o.Name)
	}
	resolv := ""
	if h.lab.opts.Resolver != "" {
		resolv = "nameserver " + h.lab.opts.Resolver + "\n"
	}
	return errors.Join(
		os.MkdirAll(h.Home(), 0o700),
		os.WriteFile(filepath.Join(h.disk, "hosts"), []byte(hosts.String()), 0o644),
		os.WriteFile(filepath.Join(h.disk, "resolv.conf"), []byte(resolv), 0o644),
	)
}

// Home is the home directory of the host's processes; it has the same path inside and outside.
func (h *Host) Home() string { return filepath.Join(h.disk, "home") }

// Path returns where a file on one of the host's disks is on the machine. Files elsewhere are the machine's own.
func (h *Host) Path(inside string) string {
	for name, at := range disks() {
		if rel, ok := strings.CutPrefix(inside, at); ok && (rel == "" || rel[0] == '/') {
			return filepath.Join(h.disk, name, rel)
		}
	}
	if dir, file := filepath.Split(inside); dir == "/etc/" && (file == "hosts" || file == "resolv.conf") {
		return filepath.Join(h.disk, file)
	}
	return inside
}

// Boot powers the host on, with the disks it had.
func (h *Host) Boot() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.power != nil {
		return fmt.Errorf("boot %s: it is on", h.Name)
	}
	sw := h.lab.Switch
	cfg := bootConfig{Name: h.Name, Disk: h.disk, ReadOnlyNet: h.lab.opts.ReadOnlyNet}
	p, err := h.lab.powerOn(cfg, h.Home(), func(ns *os.File) error {
		return plug(sw.net, ns, sw.subnet, h.index, !h.lab.opts.NoRoute)
	})
	if err != nil {
		return fmt.Errorf("boot %s: %w", h.Name, errors.Join(err, unplug(sw.net, h.index)))
	}
	h.power = p
	return nil
}

// Kill powers the host off: all its processes die at once, and everything but its disks is gone.
func (h *Host) Kill() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.power == nil {
		return nil
	}
	p := h.power
	h.power = nil
	if err := errors.Join(p.off(), unplug(h.lab.Switch.net, h.index)); err != nil {
		return fmt.Errorf("power off %s: %w", h.Name, err)
	}
	return nil
}

// on returns the place to start processes in.
func (h *Host) on() (*place, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.power == nil {
		return nil, fmt.Errorf("%s is off", h.Name)
	}
	return &h.power.place, nil
}

// Cut unplugs the host's cable.
func (h *Host) Cut() error { return setPort(h.lab.Switch.net, h.index, false) }

// Mend plugs the host's cable in again.
func (h *Host) Mend() error { return setPort(h.lab.Switch.net, h.index, true) }

// PID is the process id of the host's PID 1 as the machine sees it, 0 when the host is off.
func (h *Host) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.power == nil {
		return 0
	}
	return h.power.cmd.Process.Pid
}

// Exec runs a program inside the host.
func (h *Host) Exec(ctx context.Context, args ...string) Result { return h.Run(ctx, Spec{Args: args}) }

// Run runs a program inside the host as spec says.
func (h *Host) Run(ctx context.Context, spec Spec) Result {
	p, err := h.on()
	if err != nil {
		return Result{Code: -1, Err: err}
	}
	return p.run(ctx, spec)
}

// Start starts a program inside the host.
func (h *Host) Start(spec Spec) (*Process, error) {
	p, err := h.on()
	if err != nil {
		return nil, err
	}
	return p.start(context.Background(), spec)
}

// Must runs a program inside the host, fails the test unless it ends with status 0, and returns what it printed.
func (h *Host) Must(t testing.TB, args ...string) string {
	t.Helper()
	r := h.Exec(t.Context(), args...)
	if err := r.Check(); err != nil {
		t.Fatalf("%s: %s: %v", h.Name, strings.Join(args, " "), err)
	}
	return r.Stdout
}

// Listen listens inside the host, in the test's own process.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	p, err := h.on()
	if err != nil {
		return nil, err
	}
	return p.listen(network, address)
}

// Dial connects from the host to a numeric address, in the test's own process.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	p, err := h.on()
	if err != nil {
		return nil, err
	}
	return p.dial(ctx, network, address)
}

// ListenPacket listens for datagrams inside the host, in the test's own process.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	p, err := h.on()
	if err != nil {
		return nil, err
	}
	return p.listenPacket(network, address)
}

// InNet runs fn on a thread in the host's network namespace, for what the other methods do not offer.
func (h *Host) InNet(fn func() error) error {
	p, err := h.on()
	if err != nil {
		return err
	}
	return p.inNet(fn)
}
