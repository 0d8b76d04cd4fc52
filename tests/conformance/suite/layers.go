package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// packages are the Debian packages of the layers that have any, without what they depend on.
// Programs are busybox's where no package brings them. There is another wget where specs use its option -T, with which
// Debian's busybox fails, and bash for what e2e/sh says.
func packages() map[string][]string {
	return map[string][]string{
		"base":   {"libc6", "libc-bin", "bash", "busybox"},
		"tools":  {"bind9-dnsutils", "curl", "iperf", "iproute2", "netcat-openbsd", "util-linux", "wget"},
		"nginx":  {"nginx"},
		"stress": {"stress"},
	}
}

// larder is what layers are made of.
type larder struct {
	bin        string // directory of our own builds
	kubernetes string // sources of Kubernetes
	apt        apt
	debs       map[string][]deb // by name of the layer
}

// filler puts a layer's files into its tree.
type filler func(context.Context, tree) error

// fillers make the layers, by name.
func (l larder) fillers() map[string]filler {
	return map[string]filler{
		"agnhost":                l.agnhost,
		"base":                   l.base,
		"consumer":               l.consumer,
		"coredns":                l.program("coredns", "coredns", 0o755),
		"etcd":                   l.program("usr/local/bin/etcd", "server", 0o755),
		"kitten":                 l.pictures("kitten"),
		"nautilus":               l.pictures("nautilus"),
		"nginx":                  l.nginx,
		"nonewprivs":             l.program("usr/local/bin/nnp", "nonewprivs", 0o6755),
		"pause":                  l.pause,
		"regression-issue-74839": l.program("regression-issue-74839", "regression-issue-74839", 0o755),
		"sample-apiserver":       l.program("sample-apiserver", "sample-apiserver", 0o755),
		"tools":                  l.tools,
	}
}

// layers packs all layers, by name.
func (l larder) layers(ctx context.Context) (map[string]v1.Layer, error) {
	layers := map[string]v1.Layer{}
	for name, fill := range l.fillers() {
		t := tree{}
		if err := fill(ctx, t); err != nil {
			return nil, fmt.Errorf("fill layer %s: %w", name, err)
		}
		layer, err := t.layer()
		if err != nil {
			return nil, fmt.Errorf("pack layer %s: %w", name, err)
		}
		layers[name] = layer
	}
	return layers, nil
}

// packages unpacks the group's packages that the base layer does not have.
func (l larder) packages(ctx context.Context, t tree, group string) error {
	below := map[string]bool{}
	if group != "base" {
		for _, d := range l.debs["base"] {
			below[d.file] = true
		}
	}
	for _, d := range l.debs[group] {
		if below[d.file] {
			continue
		}
		if err := t.unpack(ctx, filepath.Join(l.apt.dir, d.file)); err != nil {
			return err
		}
	}
	return nil
}

// program is a layer of one of our own builds.
func (l larder) program(name, binary string, mode int64) filler {
	return func(_ context.Context, t tree) error { return t.copy(name, filepath.Join(l.bin, binary), mode) }
}

// pictures are what a pet's image serves.
func (l larder) pictures(pet string) filler {
	return func(_ context.Context, t tree) error {
		html := filepath.Join(l.kubernetes, "test", "images", pet, "html")
		return errors.Join(t.copy(pet+".jpg", filepath.Join(html, pet+".jpg"), 0o644), t.copy("data.json", filepath.Join(html, "data.json"), 0o644))
	}
}

func (l larder) consumer(ctx context.Context, t tree) error {
	return errors.Join(l.packages(ctx, t, "stress"),
		t.copy("consumer", filepath.Join(l.bin, "resource-consumer"), 0o755),
		t.copy("consume-cpu/consume-cpu", filepath.Join(l.bin, "consume-cpu"), 0o755))
}
