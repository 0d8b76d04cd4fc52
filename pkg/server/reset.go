package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"kedge/embedded/etcd"
	"kedge/pkg/agent"
	"kedge/pkg/lifecycle"
	"kedge/pkg/pki"
)

// resetCluster makes a cluster of this server alone, with the data that it has, and ends. The former data is kept beside it.
func (s *server) resetCluster(ctx context.Context) error {
	dir := s.cfg.Layout.EtcdDir()
	if _, err := os.Stat(filepath.Join(dir, "member")); err != nil {
		return fmt.Errorf("reset cluster: this server has no data in %s: %w; run the command on one that was a member", dir, err)
	}
	have, err := pki.Have(s.cfg.Layout.ServerTLS())
	if err != nil || !have {
		return errors.Join(errors.New("reset cluster: this server has no certificate authorities of a cluster"), err)
	}
	kept := fmt.Sprintf("%s.before-reset-%d", dir, time.Now().Unix())
	if err := copyDir(dir, kept); err != nil {
		return fmt.Errorf("keep a copy of the data: %w", err)
	}
	s.node = agent.New(agent.Options{Config: s.cfg, Facts: s.facts, Recorder: s.recorder, Log: s.log})
	ctx, done := context.WithCancel(ctx)
	defer done()
	complete := false
	err = lifecycle.Run(ctx, lifecycle.Sequence("reset",
		lifecycle.Step("join", s.joinCluster),
		lifecycle.Step("certificates", s.makeCertificates),
		lifecycle.Deferred("etcd", func() (lifecycle.Component, error) {
			c := s.etcdConfig()
			c.Reset = true
			return etcd.New(c), nil
		}),
	), s.log, s.recorder.Observe, func() { complete = true; done() })
	if err != nil {
		return fmt.Errorf("reset cluster: %w; the data as it was is in %s", err, kept)
	}
	if !complete {
		return fmt.Errorf("reset cluster: interrupted; the data as it was is in %s", kept)
	}
	if m := s.membership; m != nil && m.Pending {
		m.Pending = false
		if err := s.saveMembership(m); err != nil {
			return err
		}
	}
	s.log.Info("this server is now the only one of its cluster, with the data that it had: start it with kedge server. "+
		"Delete the nodes of servers that are gone for ever with kedge kubectl delete node: they count as ready until the cluster has missed them for about a minute, "+
		"and pods placed there would not start. On each former server that comes back run kedge reset, and let it join with --server and a new token of kedge token create --role server",
		"node", s.cfg.NodeName, "copy", kept)
	return nil
}

// copyDir copies a tree for root alone.
func copyDir(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
