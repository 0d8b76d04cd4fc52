package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// tree is the content of a layer, by path without slashes at its ends. What is put later wins.
type tree map[string]node

type node struct {
	header  tar.Header // without name and size
	content []byte
}

// place is where a path lies in the images: as in Debian, bin, sbin, lib and lib64 are links into usr, and no layer may
// replace the link by a directory.
func place(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	switch top, _, below := strings.Cut(name, "/"); top {
	case "bin", "sbin", "lib", "lib64":
		if below {
			return "usr/" + name
		}
	}
	return name
}

func (t tree) put(name string, header tar.Header, content []byte) {
	t[place(name)] = node{header, content}
}

func (t tree) dir(name string, mode int64) {
	t.put(name, tar.Header{Typeflag: tar.TypeDir, Mode: mode}, nil)
}

func (t tree) link(name, target string) {
	t.put(name, tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, nil)
}

func (t tree) text(name string, lines ...string) {
	t.put(name, tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}, []byte(strings.Join(lines, "\n")+"\n"))
}

// copy adds a file of this machine.
func (t tree) copy(name, file string, mode int64) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read file for an image: %w", err)
	}
	t.put(name, tar.Header{Typeflag: tar.TypeReg, Mode: mode}, content)
	return nil
}

// blob adds content under its digest, in the way of a registry's files.
func (t tree) blob(root string, content []byte) {
	digest := fmt.Sprintf("%x", sha256.Sum256(content))
	t.put(root+"/sha256/"+digest[:2]+"/"+digest+"/data", tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}, content)
}

// skipped begins the paths of what packages bring and no spec needs.
const skipped = "etc/cron etc/init.d etc/logrotate.d etc/skel etc/ufw usr/lib/systemd usr/share/bash-completion usr/share/bug " +
	"usr/share/debianutils usr/share/doc usr/share/gdb usr/share/info usr/share/initramfs-tools usr/share/lintian usr/share/locale " +
	"usr/share/man usr/share/menu usr/share/pixmaps"

// gconv is where the C library keeps encodings.
const gconv = "/gconv/"

// unpack adds the files of a Debian package.
func (t tree) unpack(ctx context.Context, file string) error {
	var problem bytes.Buffer
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
	cmd.Stderr = &problem
	content, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("unpack %s: %w: %s", file, err, bytes.TrimSpace(problem.Bytes()))
	}
	for files := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if err := t.add(header, files); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
	}
}

// add adds a file of a package. Ordinary directories come with what is in them.
func (t tree) add(header *tar.Header, content io.Reader) error {
	name := place(header.Name)
	if strings.Contains(name, gconv) {
		return nil
	}
	for prefix := range strings.FieldsSeq(skipped) {
		if strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	kept := tar.Header{Typeflag: header.Typeflag, Mode: header.Mode & 0o7777}
	switch header.Typeflag {
	case tar.TypeDir:
		if kept.Mode != 0o755 {
			t.put(name, kept, nil)
		}
	case tar.TypeSymlink:
		t.link(name, header.Linkname)
	case tar.TypeLink:
		kept.Linkname = place(header.Linkname)
		t.put(name, kept, nil)
	case tar.TypeReg:
		data, err := io.ReadAll(content)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		t.put(name, kept, data)
	}
	return nil
}

// write writes the tree as a tar stream that depends on nothing but its content: directories before what is in them, hard
// links after what they may name, no time and no owner but root.
func (t tree) write(out io.Writer) error {
	for name := range maps.Clone(t) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := t[dir]; !ok {
				t.dir(dir, 0o755)
			}
		}
	}
	names := slices.Sorted(maps.Keys(t))
	slices.SortStableFunc(names, func(a, b string) int { return t.rank(a) - t.rank(b) })
	w := tar.NewWriter(out)
	for _, name := range names {
		header, content := t[name].header, t[name].content
		header.Name, header.Size = name, int64(len(content))
		if header.Typeflag == tar.TypeDir {
			header.Name += "/"
		}
		if err := w.WriteHeader(&header); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if _, err := w.Write(content); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("end layer: %w", err)
	}
	return nil
}

func (t tree) rank(name string) int {
	if t[name].header.Typeflag == tar.TypeLink {
		return 1
	}
	return 0
}
