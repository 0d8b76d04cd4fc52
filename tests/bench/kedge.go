package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"kedge/tests/host"
)

const (
	kubeconfig = "/etc/kedge/kubeconfig.yaml"
	startLimit = 3 * time.Minute
)

// subject is one kedge on one host.
type subject struct {
	o       options
	h       *host.Host
	server  *host.Process
	started time.Time
}

// measureKedge makes two hosts, starts kedge on an empty disk, lets it idle, joins the other host, and starts the server again.
func measureKedge(ctx context.Context, o options) (s sample, err error) {
	if o.kedge, err = filepath.Abs(o.kedge); err != nil {
		return nil, fmt.Errorf("find executable: %w", err)
	}
	lab, err := host.New(2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	k := &subject{o: o, h: lab.Hosts[0]}
	s = sample{}
	if err := k.start(); err != nil {
		return nil, err
	}
	if s[apiReady], err = k.until(ctx, 100*time.Millisecond, "", "get", "--raw", "/readyz"); err != nil {
		return nil, err
	}
	const ready = `jsonpath={.status.conditions[?(@.type=="Ready")].status}`
	if s[nodeReady], err = k.until(ctx, 200*time.Millisecond, "True", "get", "node", k.h.Name, "-o", ready); err != nil {
		return nil, err
	}
	if s[usable], err = k.until(ctx, 100*time.Millisecond, "", "get", "serviceaccount", "default"); err != nil {
		return nil, err
	}
	if err := wait(ctx, o.settle); err != nil {
		return nil, err
	}
	if err := idle(ctx, s, k.server.Pid(), o.idle); err != nil {
		return nil, err
	}
	if err := k.measureAgent(ctx, s, lab.Hosts[1]); err != nil {
		return nil, fmt.Errorf("measure agent: %w", err)
	}
	if err := k.stop(ctx); err != nil {
		return nil, err
	}
	if err := k.start(); err != nil {
		return nil, err
	}
	if s[restart], err = k.until(ctx, 100*time.Millisecond, "", "get", "--raw", "/readyz"); err != nil {
		return nil, err
	}
	return s, k.stop(ctx)
}

func (k *subject) start() error {
	log, err := os.OpenFile(k.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	k.started = time.Now()
	k.server, err = k.h.Start(host.Spec{Args: []string{k.o.kedge, "server"}, Stdout: log, Stderr: log})
	return err
}

func (k *subject) logFile() string { return filepath.Join(k.h.Home(), "kedge.log") }

func (k *subject) stop(ctx context.Context) error {
	if err := k.server.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := k.server.Wait(ctx)
	return err
}

// until asks again and again with kubectl, as a user would, and returns the seconds since the start.
func (k *subject) until(ctx context.Context, pause time.Duration, want string, args ...string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	command := []string{k.o.kedge, "kubectl"}
	if k.o.kubectl != "" {
		command = []string{k.o.kubectl}
	}
	command = append(command, "--kubeconfig", kubeconfig)
	for {
		if _, err := os.Stat(k.h.Path(kubeconfig)); err == nil {
			r := k.h.Exec(ctx, append(command, args...)...)
			if r.Check() == nil && (want == "" || strings.TrimSpace(r.Stdout) == want) {
				return time.Since(k.started).Seconds(), nil
			}
		}
		select {
		case <-k.server.Done():
			text, _ := os.ReadFile(k.logFile())
			return 0, fmt.Errorf("kedge ended while it was waited for %v:\n%s", args, text[max(0, len(text)-2000):])
		default:
		}
		if err := wait(ctx, pause); err != nil {
			return 0, fmt.Errorf("wait for %v: %w", args, err)
		}
	}
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
