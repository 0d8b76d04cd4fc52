package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// power is what exists while a host or the switch is on.
type power struct {
	place
	cmd   *exec.Cmd
	alive *os.File // PID 1 ends when this closes
	ended chan struct{}
	root  []string // its cgroups; place.cgroups may be leaves of them
}

// powerOn starts a PID 1 in namespaces and cgroups of its own; wire connects its network before anything runs in it.
func (l *Lab) powerOn(cfg bootConfig, home string, wire func(ns *os.File) error) (p *power, err error) {
	p = &power{ended: make(chan struct{})}
	p.home = home
	cfg.Hierarchies = l.all
	defer func() {
		if err != nil {
			err = errors.Join(err, p.off())
		}
	}()
	if p.root, err = makeCgroups(l.all, l.tag, cfg.Name); err != nil {
		return p, err
	}
	p.useCgroups(l.all, cfg.Bare)
	if p.net, err = newNetNS(); err != nil {
		return p, err
	}
	if err = wire(p.net); err != nil {
		return p, fmt.Errorf("wire network: %w", err)
	}
	return p, p.spawn(cfg)
}

// useCgroups says where processes that are started later belong.
func (p *power) useCgroups(all []hierarchy, bare bool) {
	for i, dir := range p.root {
		if all[i].V2 && len(all) == 1 && !bare {
			dir = filepath.Join(dir, leafCgroup)
		}
		p.cgroups = append(p.cgroups, dir)
	}
}

// spawn starts the first process in new namespaces, puts it into its cgroups, tells it to go on and waits until it is PID 1.
func (p *power) spawn(cfg bootConfig) error {
	config, alive, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer config.Close()
	p.alive = alive
	report, answer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer report.Close()
	err = p.fork(config, answer)
	answer.Close()
	if err != nil {
		return err
	}
	if err := enterCgroups(p.root, p.cmd.Process.Pid); err != nil {
		return err
	}
	if err := json.NewEncoder(alive).Encode(cfg); err != nil {
		return fmt.Errorf("configure PID 1: %w", err)
	}
	if err := report.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return fmt.Errorf("wait for PID 1: %w", err)
	}
	said, err := io.ReadAll(report)
	if err != nil || string(said) != "ok" {
		return fmt.Errorf("wait for PID 1: %q (%w)", said, err)
	}
	return nil
}

func (p *power) fork(config, answer *os.File) error {
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{argSetup}, Env: []string{"PATH=" + path}, Dir: "/",
		ExtraFiles: []*os.File{config, answer},
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:     true,
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID,
		},
	}
	if err := p.inNet(cmd.Start); err != nil {
		return fmt.Errorf("start PID 1: %w", err)
	}
	p.cmd = cmd
	go func() {
		_ = cmd.Wait() // killed or orphaned: its end is all that is wanted
		close(p.ended)
	}()
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		return fmt.Errorf("open PID 1: %w", err)
	}
	p.init = os.NewFile(uintptr(fd), "pidfd")
	return nil
}

func (p *power) off() error {
	var err error
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		select {
		case <-p.ended: // after every process of its PID namespace
		case <-time.After(30 * time.Second):
			err = errors.New("its processes did not end within 30 s of SIGKILL")
		}
	}
	if p.alive != nil {
		p.alive.Close()
	}
	if p.net != nil {
		p.close()
	}
	return errors.Join(err, removeCgroups(p.root))
}
