package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kedge/embedded/payload"
)

// packages are the Debian packages of the layers that have any, without what they depend on.
//
// The shell is bash and the rest busybox. Not busybox's own shell: Debian's drops environment variables whose names are
// no identifiers, which containers may have. Its wget fails with -T, so that there is another where specs use that.
func packages() map[string][]string {
	return map[string][]string{
		"base":   {"libc6", "libc-bin", "bash", "busybox"},
		"tools":  {"bind9-dnsutils", "curl", "iperf", "iproute2", "netcat-openbsd", "util-linux", "wget"},
		"nginx":  {"nginx"},
		"stress": {"stress"},
	}
}

const (
	accounts = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false"
	groups   = "root:x:0:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:"
)

// larder is what layers are made of.
type larder struct {
	bin        string // directory of our own builds
	kubernetes string // sources of Kubernetes
	apt        apt
	debs       map[string][]deb // by name of the layer
}

// layers packs all layers, by name.
func (l larder) layers(ctx context.Context) (map[string]v1.Layer, error) {
	fill := map[string]func(context.Context, tree) error{
		"base": l.base, "tools": l.tools, "agnhost": l.agnhost, "nginx": l.nginx, "pause": l.pause,
		"coredns":                l.program("coredns", "coredns"),
		"etcd":                   l.program("usr/local/bin/etcd", "server"),
		"sample-apiserver":       l.program("sample-apiserver", "sample-apiserver"),
		"regression-issue-74839": l.program("regression-issue-74839", "regression-issue-74839"),
		"consumer":               l.consumer,
		"nonewprivs": func(_ context.Context, t tree) error {
			return t.copy("usr/local/bin/nnp", filepath.Join(l.bin, "nonewprivs"), 0o6755)
		},
		"kitten":   l.pictures("kitten"),
		"nautilus": l.pictures("nautilus"),
	}
	layers := map[string]v1.Layer{}
	for name, f := range fill {
		t := tree{}
		if err := f(ctx, t); err != nil {
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

// base is a small system with a C library.
func (l larder) base(ctx context.Context, t tree) error {
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		t.link(dir, "usr/"+dir)
		t.dir("usr/"+dir, 0o755)
	}
	for _, dir := range []string{"dev", "home", "mnt", "proc", "run", "sys", "var/lib", "var/log"} {
		t.dir(dir, 0o755)
	}
	t.dir("root", 0o700)
	t.dir("tmp", 0o1777)
	t.dir("var/tmp", 0o1777)
	t.link("var/run", "/run")
	t.text("etc/passwd", accounts)
	t.text("etc/group", groups)
	t.text("etc/nsswitch.conf", "passwd: files", "group: files", "hosts: files dns")
	if err := l.packages(ctx, t, "base"); err != nil {
		return err
	}
	t.link("bin/sh", "bash")
	return l.applets(ctx, t)
}

// applets links busybox under the names of its applets that nothing else provides.
func (l larder) applets(ctx context.Context, t tree) error {
	busybox, ok := t["usr/bin/busybox"]
	if !ok {
		return errors.New("the Debian package busybox has no bin/busybox")
	}
	program := filepath.Join(l.bin, "busybox")
	if err := os.WriteFile(program, busybox.content, 0o755); err != nil {
		return fmt.Errorf("write busybox: %w", err)
	}
	out, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return fmt.Errorf("list the applets of busybox: %w", err)
	}
	for applet := range strings.FieldsSeq(string(out)) {
		if _, ok := t["usr/bin/"+applet]; !ok {
			t.link("usr/bin/"+applet, "busybox")
		}
	}
	return nil
}

func (l larder) tools(ctx context.Context, t tree) error {
	if err := l.packages(ctx, t, "tools"); err != nil {
		return err
	}
	t.text("etc/wgetrc", "tries = 1") // as every other wget
	t.link("usr/bin/nc", "nc.openbsd")
	t.link("usr/local/bin/iperf", "/usr/bin/iperf")
	return nil
}

func (l larder) program(name, binary string) func(context.Context, tree) error {
	return func(_ context.Context, t tree) error { return t.copy(name, filepath.Join(l.bin, binary), 0o755) }
}

// pictures are what a pet's image serves.
func (l larder) pictures(pet string) func(context.Context, tree) error {
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

// pause is the program that kedge itself starts in every pod.
func (l larder) pause(_ context.Context, t tree) error {
	archive, _, err := payload.PauseImage()
	if err != nil {
		return fmt.Errorf("open pause image: %w", err)
	}
	defer archive.Close()
	content, err := findPause(archive)
	if err != nil {
		return err
	}
	t.put("pause", tar.Header{Typeflag: tar.TypeReg, Mode: 0o755}, content)
	return nil
}

// findPause takes the program out of its image's archive, where the layer is a tar file that is not compressed.
func findPause(archive io.Reader) ([]byte, error) {
	for files := tar.NewReader(archive); ; {
		if _, err := files.Next(); err != nil {
			return nil, fmt.Errorf("find the pause program in its image: %w", err)
		}
		layer := tar.NewReader(files)
		if header, err := layer.Next(); err != nil || header.Name != "pause" {
			continue
		}
		content, err := io.ReadAll(layer)
		if err != nil {
			return nil, fmt.Errorf("read the pause program: %w", err)
		}
		return content, nil
	}
}
