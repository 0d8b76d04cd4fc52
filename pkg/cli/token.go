package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/cli/command"
	"kedge/pkg/config"
	"kedge/pkg/join/bundle"
	"kedge/pkg/join/token"
	"kedge/pkg/pki"
)

// tokens speaks to the API server as the administrator.
type tokens struct {
	fingerprint string
	dir         string // of the authorities
	client      kubernetes.Interface
}

var _ command.Tokens = tokens{}

func openTokens(layout config.Layout, kubeconfig string) (command.Tokens, error) {
	trust, err := pki.LoadTrust(layout.ServerTLS())
	if err != nil {
		return nil, notServer("read cluster's root", layout, err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, notServer("read administrator's kubeconfig", layout, err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	return tokens{fingerprint: trust.Fingerprint(), dir: layout.ServerTLS(), client: client}, nil
}

// notServer says where the command works.
func notServer(doing string, layout config.Layout, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w; run the command as root on a server whose data directory is %s, or give its --data-dir and --write-kubeconfig", doing, err, layout.DataDir)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func (t tokens) Create(ctx context.Context, n command.NewToken) (string, error) {
	role, err := token.ParseRole(n.Role)
	if err != nil {
		return "", err
	}
	made, err := token.New(t.fingerprint)
	if err != nil {
		return "", err
	}
	if err := token.Create(ctx, t.client, made, token.Options{Role: role, TTL: n.TTL, Description: n.Description}); err != nil {
		return "", err
	}
	if role == token.Server {
		if err := t.publish(ctx); err != nil {
			return "", err
		}
	}
	return made.String(), nil
}

// publish hands the authorities to the servers that the tokens allow, and to no other.
func (t tokens) publish(ctx context.Context) error {
	files, err := pki.Export(t.dir)
	if err != nil {
		return err
	}
	return bundle.Publish(ctx, t.client, files)
}

func (t tokens) List(ctx context.Context) ([]command.Token, error) {
	infos, err := token.List(ctx, t.client)
	if err != nil {
		return nil, err
	}
	all := []command.Token{}
	for _, i := range infos {
		all = append(all, command.Token{ID: i.ID, Role: string(i.Role), Description: i.Description, Created: i.Created, Expires: i.Expires})
	}
	return all, nil
}

func (t tokens) Delete(ctx context.Context, name string) error {
	if err := token.Delete(ctx, t.client, name); err != nil {
		return err
	}
	return t.publish(ctx)
}
