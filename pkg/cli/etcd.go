package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"kedge/embedded/etcd"
	"kedge/pkg/cli/command"
	"kedge/pkg/config"
	"kedge/pkg/datastore"
	"kedge/pkg/pki"
)

// members asks the member of this machine's server.
type members struct{ layout config.Layout }

var _ command.Etcd = members{}

func openEtcd(layout config.Layout) (command.Etcd, error) {
	if _, err := os.Stat(layout.EtcdSocket()); err != nil {
		return nil, notServer("find the datastore's socket", layout, err)
	}
	return members{layout}, nil
}

func (m members) client() (*datastore.Client, error) {
	dir := m.layout.ServerTLS()
	leaf := filepath.Join(dir, pki.APIServerEtcdClient)
	credentials := etcd.TLS{Cert: leaf + ".crt", Key: leaf + ".key", CA: filepath.Join(dir, string(pki.Etcd)+"-ca.crt")}
	return datastore.Local(m.layout.EtcdSocket(), credentials, slog.New(slog.DiscardHandler))
}

// Members lists the members.
func (m members) Members(ctx context.Context) ([]command.EtcdMember, error) {
	c, err := m.client()
	if err != nil {
		return nil, err
	}
	defer c.Close() // nothing is buffered
	found, err := c.Members(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; is kedge server running here?", err)
	}
	all := []command.EtcdMember{}
	for _, f := range found {
		all = append(all, command.EtcdMember{ID: f.ID, Name: f.Name, URLs: f.URLs, State: f.State()})
	}
	return all, nil
}

// Remove takes a member out of the cluster.
func (m members) Remove(ctx context.Context, name string) error {
	c, err := m.client()
	if err != nil {
		return err
	}
	defer c.Close() // nothing is buffered
	_, err = c.Remove(ctx, name)
	return err
}
