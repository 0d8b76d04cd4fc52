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

// measureAgent joins another host to the server that runs, lets it idle, and ends it.
func (k *subject) measureAgent(ctx context.Context, s sample, h *host.Host) (err error) {
	r := k.h.Exec(ctx, k.o.kedge, "token", "create")
	if err := r.Check(); err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	log, err := os.Create(filepath.Join(h.Home(), "kedge.log"))
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	k.started = time.Now()
	agent, err := h.Start(host.Spec{
		Args: []string{k.o.kedge, "agent", "--server", fmt.Sprintf("https://%s:6443", k.h.IP())}, Env: []string{"KEDGE_TOKEN=" + strings.TrimSpace(r.Stdout)},
		Stdout: log, Stderr: log,
	})
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		failed := agent.Signal(syscall.SIGTERM)
		if _, ended := agent.Wait(stop); failed == nil {
			failed = ended
		}
		err = errors.Join(err, failed)
	}()
	const ready = `jsonpath={.status.conditions[?(@.type=="Ready")].status}`
	if s[agentReady], err = k.until(ctx, 100*time.Millisecond, "True", "get", "node", h.Name, "-o", ready); err != nil {
		return err
	}
	if err := wait(ctx, k.o.settle); err != nil {
		return err
	}
	own := sample{}
	if err := idle(ctx, own, agent.Pid(), k.o.idle); err != nil {
		return err
	}
	s[agentResident], s[agentAnonymous], s[agentCPU] = own[resident], own[anonymous], own[cpu]
	return nil
}
