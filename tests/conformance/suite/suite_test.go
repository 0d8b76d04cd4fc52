package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
	upstream "k8s.io/kubernetes/test/utils/image"
)

// TestVersions: one version of a module is downloaded and compiled once, and the suite is that of the product's Kubernetes.
func TestVersions(t *testing.T) {
	main, nested := versions(t, "../../../go.mod"), versions(t, "e2e/go.mod")
	for path, version := range nested {
		if want, ok := main[path]; ok && version != want {
			t.Errorf("e2e/go.mod has %s %s, the main module has %s", path, version, want)
		}
	}
	if nested[kubernetesPath] == "" {
		t.Errorf("e2e/go.mod does not require %s", kubernetesPath)
	}
}

// versions are what the file requires, by path; a replaced module has the version that replaces it.
func versions(t *testing.T, path string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse(path, raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range file.Require {
		found[r.Mod.Path] = r.Mod.Version
	}
	for _, r := range file.Replace {
		found[r.Old.Path] = r.New.Path + " " + r.New.Version
	}
	return found
}

func TestParseURIs(t *testing.T) {
	got := parseURIs(`Reading package lists...
'http://deb.example/pool/main/b/busybox/busybox_1.35.0-4%2bdeb12u1_amd64.deb' busybox_1%3a1.35.0-4+deb12u1_amd64.deb 451816 MD5Sum:00
'http://deb.example/pool/main/d/debconf/debconf_1.5.82_all.deb' debconf_1.5.82_all.deb 121212 MD5Sum:00
'http://deb.example/pool/main/n/nginx/nginx-common_1.22.1-9_all.deb' nginx-common_1.22.1-9_all.deb 114000 SHA256:00
`)
	want := []deb{
		{"busybox", "1:1.35.0-4+deb12u1", "busybox_1%3a1.35.0-4+deb12u1_amd64.deb", 451816},
		{"nginx-common", "1.22.1-9", "nginx-common_1.22.1-9_all.deb", 114000},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(deb{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTree: what a layer holds, in its order.
func TestTree(t *testing.T) {
	files := tree{}
	files.text("etc/motd", "hello", "world")
	files.dir("tmp", 0o1777)
	files.link("bin/sh", "bash")
	for _, header := range []tar.Header{
		{Name: "./bin/bash", Typeflag: tar.TypeReg, Mode: 0o100755},
		{Name: "./bin/a-second-name", Typeflag: tar.TypeLink, Linkname: "./bin/bash", Mode: 0o755},
		{Name: "./usr/share/doc/bash/README", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "./usr/lib/x86_64-linux-gnu/gconv/BIG5.so", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./root/", Typeflag: tar.TypeDir, Mode: 0o700},
	} {
		if err := files.add(&header, strings.NewReader("program")); err != nil {
			t.Fatal(err)
		}
	}
	files.blob("var/registry/blobs", []byte("abc"))
	const want = `0755 etc/
0644 etc/motd "hello\nworld\n"
0700 root/
1777 tmp/
0755 usr/
0755 usr/bin/
0755 usr/bin/bash "program"
0777 usr/bin/sh -> bash
0755 var/
0755 var/registry/
0755 var/registry/blobs/
0755 var/registry/blobs/sha256/
0755 var/registry/blobs/sha256/ba/
0755 var/registry/blobs/sha256/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/
0644 var/registry/blobs/sha256/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/data "abc"
0755 usr/bin/a-second-name -> usr/bin/bash
`
	if diff := cmp.Diff(want, listing(t, files)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func listing(t *testing.T, files tree) string {
	t.Helper()
	layer, err := files.layer()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var list strings.Builder
	for members := tar.NewReader(content); ; {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			return list.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%04o %s", header.Mode, header.Name)
		text, err := io.ReadAll(members)
		if err != nil {
			t.Fatal(err)
		}
		if header.Linkname != "" {
			fmt.Fprintf(&list, " -> %s", header.Linkname)
		} else if header.Typeflag == tar.TypeReg {
			fmt.Fprintf(&list, " %q", text)
		}
		list.WriteByte('\n')
	}
}

// TestRecipes: an image that upstream adds has to be made, or listed here as one that is not.
func TestRecipes(t *testing.T) {
	made := map[upstream.ImageID]bool{}
	fillers := larder{}.fillers()
	for _, r := range recipes() {
		made[r.id] = true
		for _, layer := range r.layers {
			if fillers[layer] == nil {
				t.Errorf("%s: there is no layer %s", upstream.GetE2EImage(r.id), layer)
			}
		}
	}
	var missing []string
	for id := range upstream.GetImageConfigs() {
		// Images above the last constant are those of CSI drivers.
		if !made[id] && id <= upstream.VolumeISCSIServer {
			name, _, _ := strings.Cut(upstream.GetE2EImage(id), ":")
			missing = append(missing, name)
		}
	}
	want := []string{
		"gcr.io/k8s-authenticated-test/agnhost",
		"invalid.registry.k8s.io/invalid/alpine",
		"registry.k8s.io/build-image/distroless-iptables",
		"registry.k8s.io/e2e-test-images/apparmor-loader",
		"registry.k8s.io/e2e-test-images/node-perf/npb-ep",
		"registry.k8s.io/e2e-test-images/node-perf/npb-is",
		"registry.k8s.io/e2e-test-images/node-perf/pytorch-wide-deep",
		"registry.k8s.io/e2e-test-images/perl",
		"registry.k8s.io/e2e-test-images/volume/iscsi",
		"registry.k8s.io/e2e-test-images/volume/nfs",
		"registry.k8s.io/sig-storage/nfs-provisioner",
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(missing))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestSameNameOtherImage: specs tell two versions of one image by their digests.
func TestSameNameOtherImage(t *testing.T) {
	layers := map[string]bool{}
	for _, name := range []string{"agnhost:1", "agnhost:2"} {
		img, err := recipe{config: pauseConfig()}.image(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		id, err := img.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		layers[id.String()] = true
	}
	if len(layers) != 2 {
		t.Errorf("two images have the identifiers %v", slices.Collect(maps.Keys(layers)))
	}
}

func TestStamp(t *testing.T) {
	dir := t.TempDir()
	output := filepath.Join(dir, "output")
	built := 0
	build := func() error { built++; return os.WriteFile(output, []byte("x"), 0o644) }
	refresh := func(inputs string) {
		t.Helper()
		if err := (stamp{filepath.Join(dir, "stamp"), inputs, []string{output}}).refresh(io.Discard, build); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what   string
		do     func()
		builds int
	}{
		{"the first time", func() { refresh("a") }, 1},
		{"nothing changed", func() { refresh("a") }, 1},
		{"inputs changed", func() { refresh("b") }, 2},
		{"the output is gone", func() { os.Remove(output); refresh("b") }, 3},
	} {
		if step.do(); built != step.builds {
			t.Errorf("%s: %d builds, want %d", step.what, built, step.builds)
		}
	}
	failing := stamp{filepath.Join(dir, "stamp"), "c", []string{output}}
	if err := failing.refresh(io.Discard, func() error { return io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a build that fails: %v", err)
	}
	if refresh("b"); built != 4 {
		t.Error("a build that failed left the former stamp behind")
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"serve"}, {"-o", "x", "y"}} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
