package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"kedge/embedded/etcd"
	"kedge/pkg/datastore"
	"kedge/pkg/durable"
	"kedge/pkg/join"
	"kedge/pkg/pki"
)

// membership is what a server that has joined a cluster remembers of it. The first server of a cluster has none.
type membership struct {
	Shared  map[string]string `json:"shared"`            // the values that all machines share, by the name of their option
	Servers []string          `json:"servers"`           // addresses of the servers at the time of joining
	Pending bool              `json:"pending,omitempty"` // not yet a member of the datastore
}

func (s *server) membershipFile() string {
	return filepath.Join(s.cfg.Layout.DataDir, "server", "membership.json")
}

// joinCluster makes this machine one of a cluster's servers, as far as that is possible without a running control plane: it gets the authorities
// and the values that all share. It goes on where a former start was interrupted, and does nothing on a server that has joined.
func (s *server) joinCluster(ctx context.Context) error {
	known, err := s.loadMembership()
	if err != nil {
		return err
	}
	have, err := pki.Have(s.cfg.Layout.ServerTLS())
	if err != nil {
		return err
	}
	switch {
	case have && known == nil: // the first server of its cluster
		if s.cfg.Server != "" {
			s.log.Info("this machine is a server already: --server and --token are not needed; kedge reset takes it out of its cluster")
		}
		return nil
	case !have && s.cfg.Server == "":
		return nil // a new cluster
	case !have:
		if known, err = s.askToJoin(ctx); err != nil {
			return err
		}
	}
	s.membership = known
	full, err := s.adopt(known.Shared)
	if err != nil {
		return fmt.Errorf("take over the cluster's configuration: %w", err)
	}
	s.cfg, s.node.Config = full, full
	return nil
}

// askToJoin gets the cluster's authorities and this machine's name. What it is told is remembered before they are in place.
func (s *server) askToJoin(ctx context.Context) (*membership, error) {
	text, err := s.token()
	if err != nil {
		return nil, err
	}
	s.log.Info("asking to join the cluster as a server", "server", s.cfg.Server, "node", s.cfg.NodeName)
	a, err := join.AsServer(ctx, join.Options{
		Server: s.cfg.Server, NodeName: s.cfg.NodeName, Log: s.log, Token: func() (string, error) { return text, nil },
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.adopt(a.Shared); err != nil {
		return nil, fmt.Errorf("compare with the cluster's configuration: %w", err)
	}
	if err := a.Claim(ctx); err != nil {
		return nil, fmt.Errorf("join cluster: %w", err)
	}
	m := &membership{Shared: a.Shared, Servers: a.Servers, Pending: true}
	if err := s.saveMembership(m); err != nil {
		return nil, err
	}
	if err := pki.Adopt(ctx, s.cfg.Layout.ServerTLS(), a.Authorities, a.Fingerprint); err != nil {
		return nil, err
	}
	return m, nil
}

// token returns the text of the token that was given.
func (s *server) token() (string, error) {
	text := s.cfg.Token
	if text == "" && s.cfg.TokenFile != "" {
		read, err := os.ReadFile(s.cfg.TokenFile)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		text = strings.TrimSpace(string(read))
	}
	if text == "" {
		return "", errors.New("join cluster: this machine is no server of a cluster yet and needs a token: make one on a server with " +
			"kedge token create --role server and give it as --token, --token-file or KEDGE_TOKEN")
	}
	return text, nil
}

func (s *server) loadMembership() (*membership, error) {
	text, err := os.ReadFile(s.membershipFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is known of the cluster: %w", err)
	}
	m := &membership{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("read %s: %w: restore it from a copy, or run kedge reset and join again", s.membershipFile(), err)
	}
	return m, nil
}

// saveMembership replaces the file so that a power cut leaves the former or the new one.
func (s *server) saveMembership(m *membership) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode what is known of the cluster: %w", err)
	}
	file := s.membershipFile()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	return durable.Replace(file, append(text, '\n'))
}

// openDatastore says how this server's part of the datastore is to run. Nothing of it runs yet.
func (s *server) openDatastore(context.Context) error {
	o := datastore.Options{Etcd: s.etcdConfig(), Door: s.door(s.cfg.NodeIPs[0].String()), Log: s.log}
	if m := s.membership; m != nil && m.Pending {
		o.Join = &datastore.Join{Credentials: s.etcdClient(), Done: func() error {
			m.Pending = false
			return s.saveMembership(m)
		}}
		for _, address := range m.Servers {
			o.Join.Servers = append(o.Join.Servers, s.door(address))
		}
	}
	s.state = datastore.New(o)
	return nil
}

func (s *server) door(host string) string {
	return net.JoinHostPort(host, strconv.Itoa(datastore.Port))
}

// etcdClient is the certificate with which this server asks members.
func (s *server) etcdClient() etcd.TLS {
	c := s.certificates
	return etcd.TLS{Cert: c.CertFile(pki.APIServerEtcdClient), Key: c.KeyFile(pki.APIServerEtcdClient), CA: c.CAFile(pki.Etcd)}
}
