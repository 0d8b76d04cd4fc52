package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	accounts = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false"
	groups   = "root:x:0:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:"
)

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
	if err := t.copy("bin/sh", filepath.Join(l.bin, "sh"), 0o755); err != nil {
		return err
	}
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
