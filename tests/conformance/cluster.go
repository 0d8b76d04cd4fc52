package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kedge/tests/host"
)

const (
	kubeconfig = "/etc/kedge/kubeconfig.yaml"
	dataDir    = "/var/lib/kedge"
	socket     = "/run/kedge/kedge.sock"
	startLimit = 3 * time.Minute
)

// cluster is a server and an agent with the suite's images; pods run on both. One that was there before has no lab, and
// its nodes are not known.
type cluster struct {
	o          options
	lab        *host.Lab
	nodes      []*node // the server first
	registries []*registryServer
	kubectl    string // a path outside the hosts that ends in kubectl
}

// node is a host with kedge on it.
type node struct {
	*host.Host
	role  string
	kedge *host.Process
	log   string
}

// openCluster takes the cluster that the options name, or makes one.
func openCluster(ctx context.Context, o options) (*cluster, error) {
	c := &cluster{o: o, kubectl: filepath.Join(o.out, "kubectl")}
	if err := os.Symlink(o.kedge, c.kubectl); err != nil {
		return nil, fmt.Errorf("make kubectl: %w", err)
	}
	if o.existing != "" {
		return c, nil
	}
	if err := c.boot(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// boot makes the cluster, and returns when both nodes are Ready and have the images.
func (c *cluster) boot(ctx context.Context) (err error) {
	if c.lab, err = host.New(2); err != nil {
		return err
	}
	for i, h := range c.lab.Hosts {
		n := &node{Host: h, role: []string{"server", "agent"}[i], log: filepath.Join(c.o.out, h.Name+".log")}
		c.nodes = append(c.nodes, n)
		if err := c.prepare(n); err != nil {
			return fmt.Errorf("prepare %s: %w", n.Name, err)
		}
	}
	server, agent := c.nodes[0], c.nodes[1]
	if err := server.start(c.o, nil); err != nil {
		return err
	}
	if err := c.until(ctx, "the server is Ready", c.ready(server)); err != nil {
		return err
	}
	r := server.Exec(ctx, c.o.kedge, "token", "create")
	if err := r.Check(); err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	token := "KEDGE_TOKEN=" + strings.TrimSpace(r.Stdout)
	if err := agent.start(c.o, []string{token}, "--server", fmt.Sprintf("https://%s:6443", server.IP())); err != nil {
		return err
	}
	for _, n := range c.nodes {
		err := errors.Join(c.until(ctx, n.Name+" is Ready", c.ready(n)), c.until(ctx, n.Name+" has the images", c.imported(n)))
		if err != nil {
			return err
		}
	}
	return c.writeKubeconfig()
}

// prepare gives a node the images, and a registry with the same images for specs that pull what is there already.
func (c *cluster) prepare(n *node) error {
	images := n.Path(dataDir + "/images")
	if err := os.MkdirAll(images, 0o755); err != nil {
		return fmt.Errorf("make images folder: %w", err)
	}
	if err := os.Link(c.o.images(), filepath.Join(images, "e2e.tar")); err != nil {
		if err := copyFile(c.o.images(), filepath.Join(images, "e2e.tar")); err != nil {
			return err
		}
	}
	r, err := serveRegistry(n.Host, c.o.images())
	if err != nil {
		return err
	}
	c.registries = append(c.registries, r)
	text := fmt.Sprintf("mirrors:\n  \"*\":\n    endpoint: [\"http://%s\"]\n", registryAddress)
	if err := os.WriteFile(n.Path("/etc/kedge/registries.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write registries.yaml: %w", err)
	}
	return nil
}

// copyFile copies where a link is impossible, because the disks are another file system.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy images: %w", err)
	}
	if err := os.WriteFile(to, content, 0o644); err != nil {
		return fmt.Errorf("copy images: %w", err)
	}
	return nil
}

func (n *node) start(o options, env []string, args ...string) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	args = append([]string{o.kedge, n.role, "--proxy-mode", o.proxy}, args...)
	n.kedge, err = n.Start(host.Spec{Args: args, Env: env, Stdout: log, Stderr: log})
	return err
}

// ready asks whether a node is Ready.
func (c *cluster) ready(n *node) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, err := os.Stat(c.nodes[0].Path(kubeconfig)); err != nil {
			return err
		}
		const status = `jsonpath={.status.conditions[?(@.type=="Ready")].status}`
		r := c.nodes[0].Exec(ctx, c.o.kedge, "kubectl", "get", "node", n.Name, "-o", status)
		if err := r.Check(); err != nil {
			return err
		}
		if r.Stdout != "True" {
			return fmt.Errorf("condition Ready is %q", r.Stdout)
		}
		return nil
	}
}

// imported asks whether a node has all images of the archive.
func (c *cluster) imported(n *node) func(context.Context) error {
	return func(ctx context.Context) error {
		r := n.Exec(ctx, c.o.kedge, "ctr", "images", "ls", "-q")
		if err := r.Check(); err != nil {
			return err
		}
		for _, name := range c.registries[0].archive.Names() {
			if !strings.Contains(r.Stdout, name+"\n") {
				return fmt.Errorf("image %s is not there", name)
			}
		}
		return nil
	}
}

// until asks again until the answer is nil.
func (c *cluster) until(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		for _, n := range c.nodes {
			if n.kedge == nil {
				continue
			}
			select {
			case <-n.kedge.Done():
				return fmt.Errorf("kedge on %s has ended, see %s", n.Name, n.log)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// kubeconfig is the administrator's, for use at the switch.
func (c *cluster) kubeconfig() string {
	if c.o.existing != "" {
		return c.o.existing
	}
	return filepath.Join(c.o.out, "kubeconfig.yaml")
}

func (c *cluster) writeKubeconfig() error {
	text, err := os.ReadFile(c.nodes[0].Path(kubeconfig))
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	moved := strings.ReplaceAll(string(text), "https://127.0.0.1:6443", fmt.Sprintf("https://%s:6443", c.nodes[0].IP()))
	if err := os.WriteFile(c.kubeconfig(), []byte(moved), 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// Close stops kedge, agents first, and removes the hosts.
func (c *cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var errs []error
	for _, n := range slices.Backward(c.nodes) {
		if n.kedge != nil {
			_ = n.kedge.Signal(syscall.SIGTERM) // it may have ended; its log says why
			_, err := n.kedge.Wait(ctx)
			errs = append(errs, err)
		}
	}
	for _, r := range c.registries {
		errs = append(errs, r.Close())
	}
	if c.lab == nil {
		return errors.Join(errs...)
	}
	errs = append(errs, c.lab.Close())
	_ = os.Remove(c.kubeconfig()) // it is the administrator's; it may not be there yet
	return errors.Join(errs...)
}
